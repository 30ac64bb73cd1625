// Scalar conversions between fp32 and the 16-bit floats of checkpoints and caches.
#pragma once

#include <bit>
#include <cstdint>

namespace gannet {

inline float BF16ToFloat(uint16_t bits) { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }

// Round to nearest even; NaN stays NaN.
inline uint16_t FloatToBF16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>((bits >> 16) | 0x40u);
  return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

float F16ToFloat(uint16_t bits);   // IEEE 754 binary16, subnormals and infinities included
uint16_t FloatToF16(float value);  // round to nearest even, overflow to infinity

}  // namespace gannet
