#include "checkpoint/formats/encode.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>

#include "base/dtype.h"
#include "checkpoint/formats/small_floats.h"

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

TEST(Encode, CodesAreTheNearestOfAll) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal(0.0f, 1.0f);
  const Encoder& fp4 = *FindEncoder("mxfp4");
  const Encoder& fp8 = *FindEncoder("fp8-block");
  for (int round = 0; round < 2000; ++round) {
    std::vector<float> w(32);
    for (float& value : w) value = normal(random) * std::exp2(static_cast<float>(round % 60 - 30));
    if (round % 4 == 0) {  // halfway between codes, when the scale is a power of two
      for (size_t i = 0; i < 32; ++i) w[i] = static_cast<float>(i) * 0.25f - 4;
      w[0] = 4;
    }
    std::byte values[32], scales[4];
    fp4.encode(w.data(), 1, 32, values, scales);
    const float scale = E8M0ToFloat(std::to_integer<uint8_t>(scales[0]));
    for (size_t i = 0; i < 32; ++i) {
      const int code = std::to_integer<int>(values[i / 2]) >> (i % 2 * 4) & 15;
      ASSERT_EQ(code & 7, NearestOf(kE2M1, 8, std::fabs(w[i]) / scale)) << w[i] << " by " << scale;
      ASSERT_EQ(code >> 3, std::signbit(w[i]));
    }
    fp8.encode(w.data(), 1, 32, values, scales);
    float block;
    std::memcpy(&block, scales, 4);
    for (size_t i = 0; i < 32; ++i) {
      const int code = std::to_integer<int>(values[i]);
      ASSERT_EQ(code & 127, NearestOf(kE4M3.values, 127, std::fabs(w[i]) / block)) << w[i] << " by " << block;
    }
  }
}

TEST(Encode, ZerosAndExtremes) {
  std::byte values[32], scales[4];
  for (const float fill : {0.0f, -0.0f, 1e-45f, 3e38f}) {
    const std::vector<float> w(32, fill);
    for (const char* flag : {"mxfp4", "int8", "fp8-block"}) {
      FindEncoder(flag)->encode(w.data(), 1, 32, values, scales);
      if (std::strcmp(flag, "mxfp4") == 0) {
        const float got = kE2M1[std::to_integer<int>(values[0]) & 7] * E8M0ToFloat(std::to_integer<uint8_t>(scales[0]));
        EXPECT_NEAR(got, std::fabs(fill), std::max(0.25f * std::fabs(fill), 0x1p-129f)) << fill;
      }
    }
  }
  EXPECT_EQ(FindEncoder("q4"), nullptr);
}

}  // namespace
}  // namespace gannet
