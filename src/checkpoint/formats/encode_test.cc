#include "checkpoint/formats/encode.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <utility>

#include "base/dtype.h"
#include "checkpoint/file_checks.h"
#include "checkpoint/formats/small_floats.h"
#include "checkpoint/safetensors.h"

namespace gannet {
namespace {

// By search over all values: the nearest, halfway the even code.
int NearestOf(const float* values, int count, double magnitude) {
  int best = 0;
  for (int code = 1; code < count; ++code) {
    const double there = std::fabs(values[code] - magnitude), before = std::fabs(values[best] - magnitude);
    if (there < before || (there == before && code % 2 == 0)) best = code;
  }
  return best;
}

// A matrix by itself, encoded whole: its parts.
std::vector<std::vector<std::byte>> Encode(std::string_view flag, const std::vector<float>& w, int64_t n) {
  const Encoder& encoder = *FindEncoder(flag);
  const int64_t k = std::ssize(w) / n;
  const std::vector<int64_t> matrix{n, k};
  std::vector<std::vector<std::byte>> parts;
  std::vector<std::byte*> others;
  for (const EncodedPart& part : encoder.parts) {
    parts.emplace_back(static_cast<size_t>(BytesOf(*FindSafetensorsDtype(part.dtype), part.shape(matrix)).value()));
    if (parts.size() > 1) others.push_back(parts.back().data());
  }
  float largest = 0;
  for (const float value : w) largest = std::max(largest, std::fabs(value));
  const auto row_bytes = encoder.along_n ? 0 : std::ssize(parts[0]) / n;
  for (int64_t row = 0; row < n; row += encoder.group_rows) {
    encoder.encode({w.data() + row * k, row, std::min(encoder.group_rows, n - row), n, k, largest},
                   parts[0].data() + row * row_bytes, others.data());
  }
  return parts;
}

template <typename Value>
Value At(const std::vector<std::byte>& part, size_t index) {
  Value value;
  std::memcpy(&value, part.data() + index * sizeof(value), sizeof(value));
  return value;
}

TEST(Encode, CodesAreTheNearestOfAll) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal(0.0f, 1.0f);
  for (int round = 0; round < 2000; ++round) {
    std::vector<float> w(32);
    for (float& value : w) value = normal(random) * std::exp2(static_cast<float>(round % 60 - 30));
    if (round % 4 == 0) {  // halfway between codes, when the scale is a power of two
      for (size_t i = 0; i < 32; ++i) w[i] = static_cast<float>(i) * 0.25f - 4;
      w[0] = 4;
    }
    const auto mxfp4 = Encode("mxfp4", w, 1), nvfp4 = Encode("nvfp4", w, 1), fp8 = Encode("fp8-block", w, 1);
    for (size_t i = 0; i < 32; ++i) {
      const auto code_of = [&](const auto& parts) { return std::to_integer<int>(parts[0][i / 2]) >> (i % 2 * 4) & 15; };
      const float scale = E8M0ToFloat(At<uint8_t>(mxfp4[1], 0));
      ASSERT_EQ(code_of(mxfp4) & 7, NearestOf(kE2M1, 8, std::fabs(w[i]) / scale)) << w[i] << " by " << scale;
      ASSERT_EQ(code_of(mxfp4) >> 3, std::signbit(w[i]));
      // Not at ties, which a rounding of the quotient decides.
      const double unit = double{E4M3ToFloat(At<uint8_t>(nvfp4[1], i / 16))} * At<float>(nvfp4[2], 0);
      const double quotient = std::fabs(w[i]) / unit;
      const double there = std::fabs(kE2M1[code_of(nvfp4) & 7] - quotient);
      ASSERT_LE(there, std::fabs(kE2M1[NearestOf(kE2M1, 8, quotient)] - quotient) + 1e-5) << w[i] << " by " << unit;
      const float block = At<float>(fp8[1], 0);
      const int code = std::to_integer<int>(fp8[0][i]);
      ASSERT_EQ(code & 127, NearestOf(kE4M3.values, 127, std::fabs(w[i]) / block)) << w[i] << " by " << block;
    }
  }
}

// What every format makes of zeros, of the smallest and of the largest floats is finite and no further off than a step.
TEST(Encode, ZerosAndExtremes) {
  for (const float fill : {0.0f, -0.0f, 1e-45f, 3e38f}) {
    const std::vector<float> w(8 * 128, fill);
    const auto mxfp4 = Encode("mxfp4", w, 8);
    const float got = kE2M1[std::to_integer<int>(mxfp4[0][0]) & 7] * E8M0ToFloat(At<uint8_t>(mxfp4[1], 0));
    EXPECT_NEAR(got, std::fabs(fill), std::max(0.25f * std::fabs(fill), 0x1p-129f)) << fill;
    for (const auto& [flag, part] : {std::pair("fp8-block", 1),
                                     {"fp8-channel", 1},
                                     {"fp8-tensor", 1},
                                     {"int8", 1},
                                     {"nvfp4", 2},
                                     {"nvfp4-packed", 2}}) {
      const float scale = At<float>(Encode(flag, w, 8)[static_cast<size_t>(part)], 0);
      EXPECT_TRUE(std::isfinite(scale) && scale > 0) << flag << " of " << fill;
    }
    EXPECT_TRUE(std::isfinite(BF16ToFloat(At<uint16_t>(Encode("int4", w, 8)[1], 0)))) << fill;
    for (const char* flag : {"awq", "gptq"}) {
      const float scale = F16ToFloat(At<uint16_t>(Encode(flag, w, 8)[2], 0));
      EXPECT_TRUE(std::isfinite(scale) && scale > 0) << flag << " of " << fill;
    }
  }
  EXPECT_EQ(FindEncoder("q4"), nullptr);
}

}  // namespace
}  // namespace gannet
