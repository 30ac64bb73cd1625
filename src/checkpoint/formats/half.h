// binary16 to fp32 without branches or calls, so that loops over it vectorize.
#pragma once

#include <bit>
#include <cstdint>

namespace gannet {

// Equal to F16ToFloat (base/dtype.h) for every input.
inline float HalfToFloat(uint16_t bits) {
  const uint32_t magnitude = bits & 0x7fffu;
  const uint32_t normal = (magnitude << 13) + (112u << 23);
  const uint32_t special = (magnitude << 13) | 0x7f800000u;
  const uint32_t subnormal = std::bit_cast<uint32_t>(static_cast<float>(static_cast<int32_t>(magnitude)) * 0x1p-24f);
  const uint32_t value = magnitude < 0x400u ? subnormal : magnitude < 0x7c00u ? normal : special;
  return std::bit_cast<float>(value | (static_cast<uint32_t>(bits & 0x8000u) << 16));
}

}  // namespace gannet
