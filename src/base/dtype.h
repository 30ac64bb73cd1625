// Scalar conversions between fp32 and the 16-bit and 8-bit floats of checkpoints and caches.
#pragma once

#include <bit>
#include <cstdint>
#include <limits>

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

// E8M0 of OCP MX 1.0: 2^(bits - 127), 255 is NaN.
inline float E8M0ToFloat(uint8_t bits) {
  if (bits == 255) return std::numeric_limits<float>::quiet_NaN();
  return std::bit_cast<float>(bits == 0 ? 0x00400000u : static_cast<uint32_t>(bits) << 23);
}

// E4M3 of the OCP 8-bit floating point specification: bias 7, no infinities, 0x7f and 0xff are NaN.
constexpr float E4M3ToFloat(uint8_t bits) {
  const int exponent = bits >> 3 & 15;
  const int mantissa = bits & 7;
  float value = exponent == 0 ? static_cast<float>(mantissa) * 0x1p-9f : static_cast<float>(8 + mantissa) * 0x1p-10f;
  for (int i = 0; i < exponent; ++i) value *= 2;
  if ((bits & 0x7f) == 0x7f) value = std::numeric_limits<float>::quiet_NaN();
  return (bits & 0x80) != 0 ? -value : value;
}
struct E4M3Table {
  float values[256] = {};
  constexpr E4M3Table() {
    for (int i = 0; i < 256; ++i) values[i] = E4M3ToFloat(static_cast<uint8_t>(i));
  }
};
inline constexpr E4M3Table kE4M3;

// Round to nearest even; beyond 448, the largest, to that one; infinities become NaN.
uint8_t FloatToE4M3(float value);

}  // namespace gannet
