// Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, MXFP4: blocks of 32 values with one scale, and one minimum in the _1 forms.
#include <cstring>

#include "base/dtype.h"
#include "checkpoint/formats/dequantize.h"
#include "checkpoint/formats/half.h"
#include "checkpoint/formats/small_floats.h"

namespace gannet {
namespace {

constexpr int kBlock = 32;
constexpr int kHalf = kBlock / 2;  // a byte of `low` holds value j in its low nibble and value j + 16 in its high one

struct Q8_0 {
  uint16_t scale;  // binary16, as all scales and minimums here
  int8_t values[kBlock];
};
struct Q4_0 {
  uint16_t scale;
  uint8_t low[kHalf];
};
struct Q4_1 {
  uint16_t scale;
  uint16_t minimum;
  uint8_t low[kHalf];
};
struct Q5_0 {
  uint16_t scale;
  uint8_t high[4];  // bit j is the fifth bit of value j
  uint8_t low[kHalf];
};
struct Q5_1 {
  uint16_t scale;
  uint16_t minimum;
  uint8_t high[4];
  uint8_t low[kHalf];
};
struct Mxfp4 {
  uint8_t scale;  // E8M0
  uint8_t low[kHalf];
};
static_assert(sizeof(Mxfp4) == 17);
static_assert(sizeof(Q8_0) == 34 && sizeof(Q4_0) == 18 && sizeof(Q4_1) == 20 && sizeof(Q5_0) == 22 &&
              sizeof(Q5_1) == 24);

// Calls decode(block, out) for each block of the row, out being its 32 floats.
template <typename Block, typename Decode>
void ForEachBlock(const Weight& weight, int64_t row, float* out, Decode decode) {
  const std::byte* in = weight.row(row);
  for (int64_t k = 0; k < weight.cols; k += kBlock, in += sizeof(Block)) {
    Block block;
    std::memcpy(&block, in, sizeof(Block));
    decode(block, out + k);
  }
}

// The 32 five-bit values of a block.
template <typename Block>
void FiveBits(const Block& block, int* values) {
  uint32_t high;
  std::memcpy(&high, block.high, sizeof(high));
  for (int j = 0; j < kHalf; ++j) {
    values[j] = (block.low[j] & 0x0f) | static_cast<int>((high >> j & 1u) << 4);
    values[j + kHalf] = (block.low[j] >> 4) | static_cast<int>((high >> (j + kHalf) & 1u) << 4);
  }
}

}  // namespace

void DequantizeRowQ8_0(const Weight& weight, int64_t row, float* out) {
  ForEachBlock<Q8_0>(weight, row, out, [](const Q8_0& block, float* values) {
    const float scale = HalfToFloat(block.scale);
    for (int j = 0; j < kBlock; ++j) values[j] = scale * static_cast<float>(block.values[j]);
  });
}

void DequantizeRowQ4_0(const Weight& weight, int64_t row, float* out) {
  ForEachBlock<Q4_0>(weight, row, out, [](const Q4_0& block, float* values) {
    const float scale = HalfToFloat(block.scale);
    for (int j = 0; j < kHalf; ++j) {
      values[j] = scale * static_cast<float>((block.low[j] & 0x0f) - 8);
      values[j + kHalf] = scale * static_cast<float>((block.low[j] >> 4) - 8);
    }
  });
}

void DequantizeRowMxfp4(const Weight& weight, int64_t row, float* out) {
  ForEachBlock<Mxfp4>(weight, row, out, [](const Mxfp4& block, float* values) {
    const float scale = E8M0ToFloat(block.scale);
    for (int j = 0; j < kHalf; ++j) {  // ggml has no negative zero
      values[j] = kE2M1[block.low[j] & 0x0f] * scale + 0.0f;
      values[j + kHalf] = kE2M1[block.low[j] >> 4] * scale + 0.0f;
    }
  });
}

void DequantizeRowQ4_1(const Weight& weight, int64_t row, float* out) {
  ForEachBlock<Q4_1>(weight, row, out, [](const Q4_1& block, float* values) {
    const float scale = HalfToFloat(block.scale);
    const float minimum = HalfToFloat(block.minimum);
    for (int j = 0; j < kHalf; ++j) {
      values[j] = scale * static_cast<float>(block.low[j] & 0x0f) + minimum;
      values[j + kHalf] = scale * static_cast<float>(block.low[j] >> 4) + minimum;
    }
  });
}

void DequantizeRowQ5_0(const Weight& weight, int64_t row, float* out) {
  ForEachBlock<Q5_0>(weight, row, out, [](const Q5_0& block, float* values) {
    const float scale = HalfToFloat(block.scale);
    int quants[kBlock];
    FiveBits(block, quants);
    for (int j = 0; j < kBlock; ++j) values[j] = scale * static_cast<float>(quants[j] - 16);
  });
}

void DequantizeRowQ5_1(const Weight& weight, int64_t row, float* out) {
  ForEachBlock<Q5_1>(weight, row, out, [](const Q5_1& block, float* values) {
    const float scale = HalfToFloat(block.scale);
    const float minimum = HalfToFloat(block.minimum);
    int quants[kBlock];
    FiveBits(block, quants);
    for (int j = 0; j < kBlock; ++j) values[j] = scale * static_cast<float>(quants[j]) + minimum;
  });
}

}  // namespace gannet
