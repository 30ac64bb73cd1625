#include "checkpoint/formats/encode.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "base/dtype.h"
#include "checkpoint/formats/small_floats.h"

namespace gannet {
namespace {

float LargestOf(const float* values, int64_t count) {
  float largest = 0;
  for (int64_t i = 0; i < count; ++i) largest = std::max(largest, std::fabs(values[i]));
  return largest;
}

// The nearest e2m1 code, without its sign; halfway the even one.
int NearestE2M1(float m) {
  return (m > 0.25f) + (m >= 0.75f) + (m > 1.25f) + (m >= 1.75f) + (m > 2.5f) + (m >= 3.5f) + (m > 5.0f);
}

std::byte Signed(int code, float value, int sign_bit) {
  return static_cast<std::byte>(std::signbit(value) ? code | sign_bit : code);
}

void EncodeMxfp4(const float* w, int64_t rows, int64_t k, std::byte* values, std::byte* scales) {
  for (int64_t block = 0; block < rows * k / 32; ++block, w += 32, values += 16) {
    const float largest = LargestOf(w, 32);
    const int exponent = largest > 0 ? std::clamp(std::ilogb(largest) - 2, -127, 127) : 0;
    scales[block] = static_cast<std::byte>(exponent + 127);
    const float inverse = std::ldexp(1.0f, -exponent);
    std::byte codes[32];
    for (int i = 0; i < 32; ++i) codes[i] = Signed(NearestE2M1(std::fabs(w[i]) * inverse), w[i], 8);
    for (int i = 0; i < 16; ++i) values[i] = codes[2 * i] | codes[2 * i + 1] << 4;
  }
}

void EncodeFp8Block(const float* w, int64_t rows, int64_t k, std::byte* values, std::byte* scales) {
  for (int64_t first = 0; first < k; first += 128, scales += 4) {
    const int64_t count = std::min<int64_t>(128, k - first);
    float largest = 0;
    for (int64_t r = 0; r < rows; ++r) largest = std::max(largest, LargestOf(w + r * k + first, count));
    const float scale = std::max(largest / 448, 0x1p-100f);
    std::memcpy(scales, &scale, 4);
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t c = first; c < first + count; ++c) {
        const float value = w[r * k + c];
        values[r * k + c] = static_cast<std::byte>(FloatToE4M3(value / scale));
      }
    }
  }
}

void EncodeInt8(const float* w, int64_t, int64_t k, std::byte* values, std::byte* scales) {
  const float scale = std::max(LargestOf(w, k) / 127, 0x1p-100f);
  std::memcpy(scales, &scale, 4);
  for (int64_t c = 0; c < k; ++c) {
    values[c] = static_cast<std::byte>(static_cast<int8_t>(std::clamp(std::nearbyint(w[c] / scale), -127.0f, 127.0f)));
  }
}

using Shape = std::vector<int64_t>;
constexpr Encoder kEncoders[] = {
    {"mxfp4", "MXFP4", "U8", "_scale", "U8", 1, 32,
     [](int64_t n, int64_t k) {
       return Shape{n, k / 2};
     },
     [](int64_t n, int64_t k) {
       return Shape{n, k / 32};
     },
     2, 1, EncodeMxfp4},
    {"fp8-block", "FP8", "F8_E4M3", "_scale_inv", "F32", 128, 128,
     [](int64_t n, int64_t k) {
       return Shape{n, k};
     },
     [](int64_t n, int64_t k) {
       return Shape{(n + 127) / 128, (k + 127) / 128};
     },
     1, 4, EncodeFp8Block},
    {"int8", "INT8", "I8", "_scale", "F32", 1, 0,
     [](int64_t n, int64_t k) {
       return Shape{n, k};
     },
     [](int64_t n, int64_t) {
       return Shape{n, 1};
     },
     1, 4, EncodeInt8},
};

}  // namespace

const Encoder* FindEncoder(std::string_view flag) {
  for (const Encoder& encoder : kEncoders) {
    if (encoder.flag == flag) return &encoder;
  }
  return nullptr;
}

}  // namespace gannet
