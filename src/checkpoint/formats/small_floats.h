// The 4-bit floats and the powers of two of the Open Compute Project: OCP MX 1.0 (E2M1, E8M0).
#pragma once

#include <bit>
#include <cstdint>
#include <limits>

#include "base/dtype.h"

namespace gannet {

// 2^(bits - 127), 255 is NaN.
inline float E8M0ToFloat(uint8_t bits) {
  if (bits == 255) return std::numeric_limits<float>::quiet_NaN();
  return std::bit_cast<float>(bits == 0 ? 0x00400000u : static_cast<uint32_t>(bits) << 23);
}

inline constexpr float kE2M1[16] = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6, -0.0f, -0.5f, -1, -1.5f, -2, -3, -4, -6};

}  // namespace gannet
