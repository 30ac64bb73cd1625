// Q4_K, Q5_K, Q6_K: blocks of 256 values in sub-blocks that share an fp16 scale and have small integer scales each.
#include <cstring>

#include "checkpoint/formats/dequantize.h"
#include "checkpoint/formats/half.h"

namespace gannet {
namespace {

constexpr int kBlock = 256;

struct Q4_K {
  uint16_t scale;    // binary16, of the sub-blocks' scales
  uint16_t minimum;  // binary16, of the sub-blocks' minimums
  uint8_t scales[12];
  uint8_t low[kBlock / 2];  // 32 bytes hold 64 values: the low nibbles are the first 32
};
struct Q5_K {
  uint16_t scale;
  uint16_t minimum;
  uint8_t scales[12];
  uint8_t high[kBlock / 8];  // bit s of byte j is the fifth bit of value j of sub-block s
  uint8_t low[kBlock / 2];
};
struct Q6_K {
  uint8_t low[kBlock / 2];
  uint8_t high[kBlock / 4];
  int8_t scales[kBlock / 16];
  uint16_t scale;
};
static_assert(sizeof(Q4_K) == 144 && sizeof(Q5_K) == 176 && sizeof(Q6_K) == 210);

// The 6-bit scale and minimum of the 8 sub-blocks out of 12 bytes: sub-blocks 0..3 in the low six bits of bytes 0..3
// (scale) and 4..7 (minimum), sub-blocks 4..7 in the nibbles of bytes 8..11 and the top two bits of the others.
struct SubScales {
  uint8_t scale[8];
  uint8_t minimum[8];
};
SubScales Unpack(const uint8_t* in) {
  SubScales out;
  for (int s = 0; s < 4; ++s) {
    out.scale[s] = in[s] & 63;
    out.minimum[s] = in[s + 4] & 63;
    out.scale[s + 4] = static_cast<uint8_t>((in[s + 8] & 0x0f) | ((in[s] >> 6) << 4));
    out.minimum[s + 4] = static_cast<uint8_t>((in[s + 8] >> 4) | ((in[s + 4] >> 6) << 4));
  }
  return out;
}

}  // namespace

void DequantizeRowQ4_K(const Weight& weight, int64_t row, float* out) {
  const std::byte* in = weight.row(row);
  for (int64_t k = 0; k < weight.cols; k += kBlock, in += sizeof(Q4_K)) {
    Q4_K block;
    std::memcpy(&block, in, sizeof(block));
    const SubScales sub = Unpack(block.scales);
    for (int s = 0; s < 8; ++s) {
      const float scale = HalfToFloat(block.scale) * static_cast<float>(sub.scale[s]);
      const float minimum = HalfToFloat(block.minimum) * static_cast<float>(sub.minimum[s]);
      const uint8_t* low = block.low + s / 2 * 32;
      const int shift = s % 2 * 4;
      float* values = out + k + s * 32;
      for (int j = 0; j < 32; ++j) values[j] = scale * static_cast<float>((low[j] >> shift) & 0x0f) - minimum;
    }
  }
}

void DequantizeRowQ5_K(const Weight& weight, int64_t row, float* out) {
  const std::byte* in = weight.row(row);
  for (int64_t k = 0; k < weight.cols; k += kBlock, in += sizeof(Q5_K)) {
    Q5_K block;
    std::memcpy(&block, in, sizeof(block));
    const SubScales sub = Unpack(block.scales);
    for (int s = 0; s < 8; ++s) {
      const float scale = HalfToFloat(block.scale) * static_cast<float>(sub.scale[s]);
      const float minimum = HalfToFloat(block.minimum) * static_cast<float>(sub.minimum[s]);
      const uint8_t* low = block.low + s / 2 * 32;
      const int shift = s % 2 * 4;
      float* values = out + k + s * 32;
      for (int j = 0; j < 32; ++j) {
        const int value = ((low[j] >> shift) & 0x0f) | ((block.high[j] >> s & 1) << 4);
        values[j] = scale * static_cast<float>(value) - minimum;
      }
    }
  }
}

// Two halves of 128 values; in each, values 32 * g + j (g in 0..3) take their nibble from low[32 * (g % 2) + j] and two
// more bits from high[j] at 2 * g; 16 values share a scale.
void DequantizeRowQ6_K(const Weight& weight, int64_t row, float* out) {
  const std::byte* in = weight.row(row);
  for (int64_t k = 0; k < weight.cols; k += kBlock, in += sizeof(Q6_K)) {
    Q6_K block;
    std::memcpy(&block, in, sizeof(block));
    for (int s = 0; s < 16; ++s) {
      const int half = s / 8;
      const int group = s % 8 / 2;
      const int first = s % 2 * 16;
      const float scale = HalfToFloat(block.scale) * static_cast<float>(block.scales[s]);
      const uint8_t* low = block.low + half * 64 + group % 2 * 32 + first;
      const uint8_t* high = block.high + half * 32 + first;
      const int low_shift = group / 2 * 4;
      const int high_shift = group * 2;
      float* values = out + k + s * 16;
      for (int j = 0; j < 16; ++j) {
        const int value = ((low[j] >> low_shift) & 0x0f) | (((high[j] >> high_shift) & 3) << 4);
        values[j] = scale * static_cast<float>(value - 32);
      }
    }
  }
}

}  // namespace gannet
