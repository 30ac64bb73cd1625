#include "base/dtype.h"

#include <array>
#include <cmath>
#include <cstring>

#include "base/result.h"
#include "base/weight.h"

namespace gannet {

float F16ToFloat(uint16_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000u) << 16;
  const uint32_t exponent = (bits >> 10) & 0x1fu;
  const uint32_t mantissa = bits & 0x3ffu;
  if (exponent == 0x1f) return std::bit_cast<float>(sign | 0x7f800000u | (mantissa << 13));
  if (exponent == 0) {  // zero and subnormals: mantissa * 2^-24 is exact in fp32
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
    return sign ? -magnitude : magnitude;
  }
  return std::bit_cast<float>(sign | ((exponent + 112u) << 23) | (mantissa << 13));
}

uint16_t FloatToF16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint16_t sign = static_cast<uint16_t>((bits >> 16) & 0x8000u);
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return static_cast<uint16_t>(sign | 0x7e00u);
  if (magnitude >= 0x477ff000u) return static_cast<uint16_t>(sign | 0x7c00u);  // 65520 and up round to infinity
  if (magnitude < 0x38800000u) {  // below 2^-14: adding 0.5 aligns the subnormal's bits at the bottom, rounded to even
    const float aligned = std::bit_cast<float>(magnitude) + 0.5f;
    return static_cast<uint16_t>(sign | (std::bit_cast<uint32_t>(aligned) - 0x3f000000u));
  }
  const uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u);
  return static_cast<uint16_t>(sign | ((rounded - 0x38000000u) >> 13));
}

const StorageInfo& InfoOf(Storage storage) {
  static constexpr std::array<StorageInfo, 20> kTable = {{
      {"F32", 1, 4},      {"F16", 1, 2},       {"BF16", 1, 2},       {"Q8_0", 32, 34},
      {"Q4_0", 32, 18},   {"Q4_1", 32, 20},    {"Q5_0", 32, 22},     {"Q5_1", 32, 24},
      {"Q4_K", 256, 144}, {"Q5_K", 256, 176},  {"Q6_K", 256, 210},   {"MXFP4", 32, 17},
      {"FP4", 2, 1},      {"FP8", 1, 1},       {"INT8", 1, 1},       {"INT8 with zero points", 1, 1},
      {"INT4", 2, 1},     {"AWQ", 2, 1, true}, {"GPTQ", 2, 1, true}, {"GPTQ of 8 bits", 1, 1, true},
  }};
  return kTable.at(static_cast<size_t>(storage));
}

float Scales::at(int64_t index) const {
  switch (type) {
    case ScaleType::kF32: {
      float whole;
      std::memcpy(&whole, data + 4 * index, 4);
      return whole;
    }
    case ScaleType::kF16:
    case ScaleType::kBF16: {
      uint16_t half;
      std::memcpy(&half, data + 2 * index, 2);
      return type == ScaleType::kF16 ? F16ToFloat(half) : BF16ToFloat(half);
    }
    case ScaleType::kE8M0:
      return E8M0ToFloat(std::to_integer<uint8_t>(data[index]));
    case ScaleType::kE4M3:
      return kE4M3.values[std::to_integer<size_t>(data[index])];
  }
  return 0;
}

uint8_t FloatToE4M3(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t sign = bits >> 24 & 0x80;
  const float size = std::fabs(value);
  if (!(size <= std::numeric_limits<float>::max())) return static_cast<uint8_t>(sign | 0x7f);
  if (size >= 448) return static_cast<uint8_t>(sign | 0x7e);
  if (size < 0x1p-6f) return static_cast<uint8_t>(sign | static_cast<uint32_t>(std::nearbyint(size * 0x1p9f)));
  const uint32_t whole = bits & 0x7fffffffu;
  const uint32_t rounded = (whole + 0x7ffffu + (whole >> 20 & 1)) >> 20;
  return static_cast<uint8_t>(sign | (rounded - (120u << 3)));
}

}  // namespace gannet
