// The 4-bit integers of encode.h, and what they share with its other formats.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "checkpoint/formats/encode.h"

namespace gannet {

inline constexpr int64_t kInt4Group = 32;
inline constexpr int64_t kColumnGroup = 128;  // of AWQ and GPTQ
inline constexpr float kSmallestScale = 0x1p-100f;

inline float LargestOf(const float* values, int64_t count) {
  float largest = 0;
  for (int64_t i = 0; i < count; ++i) largest = std::max(largest, std::fabs(values[i]));
  return largest;
}

void EncodeInt4(const MatrixRows& rows, std::byte* values, std::byte* const* others);
void EncodeAwq(const MatrixRows& rows, std::byte* values, std::byte* const* others);
void EncodeGptq(const MatrixRows& rows, std::byte* values, std::byte* const* others);

}  // namespace gannet
