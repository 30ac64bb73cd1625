// The 4-bit and 8-bit floats of the Open Compute Project: OCP FP8 (E4M3), OCP MX 1.0 (E2M1, E8M0).
#pragma once

#include <bit>
#include <cstdint>
#include <limits>

namespace gannet {

// 2^(bits - 127), 255 is NaN.
inline float E8M0ToFloat(uint8_t bits) {
  if (bits == 255) return std::numeric_limits<float>::quiet_NaN();
  return std::bit_cast<float>(bits == 0 ? 0x00400000u : static_cast<uint32_t>(bits) << 23);
}

// E4M3: bias 7, no infinities, 0x7f and 0xff are NaN.
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

inline constexpr float kE2M1[16] = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6, -0.0f, -0.5f, -1, -1.5f, -2, -3, -4, -6};

}  // namespace gannet
