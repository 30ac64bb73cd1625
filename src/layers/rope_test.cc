#include "layers/rope.h"

#include <gtest/gtest.h>

#include <cmath>

namespace gannet {
namespace {

std::vector<float> Frequencies(RopeScaling scaling, int64_t dims = 8, double theta = 10000) {
  const RopeTable table({.dims = dims, .theta = theta, .scaling = std::move(scaling)}, {});
  return {table.inverse_frequencies().begin(), table.inverse_frequencies().end()};
}

TEST(Rope, PlainFrequenciesArePowersOfTheta) {
  const std::vector<float> expected = {1, 0.1f, 0.01f, 0.001f};
  const std::vector<float> frequencies = Frequencies({});
  for (size_t i = 0; i < 4; ++i) EXPECT_FLOAT_EQ(frequencies[i], expected[i]);
}

TEST(Rope, LinearDividesThemAll) {
  const std::vector<float> frequencies = Frequencies(RopeLinear{4});
  for (size_t i = 0; i < 4; ++i) EXPECT_FLOAT_EQ(frequencies[i], Frequencies({})[i] / 4);
}

TEST(Rope, Llama3KeepsTheFastAndDividesTheSlow) {
  const RopeLlama3 scaling{.factor = 8, .low_freq_factor = 1, .high_freq_factor = 4, .original_positions = 8192};
  const std::vector<float> plain = Frequencies({}, 128, 500000);
  const std::vector<float> scaled = Frequencies(scaling, 128, 500000);
  for (size_t i = 0; i < plain.size(); ++i) {
    const double wavelength = 2 * M_PI / plain[i];
    if (wavelength < 2048) {
      EXPECT_FLOAT_EQ(scaled[i], plain[i]);
    }
    if (wavelength > 8192) {
      EXPECT_FLOAT_EQ(scaled[i], plain[i] / 8);
    }
    EXPECT_LE(scaled[i], plain[i]);
    EXPECT_GE(scaled[i], plain[i] / 8 * 0.999999f);
    if (i > 0) {
      EXPECT_LT(scaled[i], scaled[i - 1]);
    }
  }
}

TEST(Rope, YarnInterpolatesTheSlowAndScalesAmplitude) {
  RopeYarn scaling{.factor = 40, .original_positions = 4096, .attention_factor = 1.25};
  const std::vector<float> plain = Frequencies({}, 64);
  const std::vector<float> scaled = Frequencies(scaling, 64);
  EXPECT_FLOAT_EQ(scaled.front(), plain.front());
  EXPECT_FLOAT_EQ(scaled.back(), plain.back() / 40);
  const RopeTable table({.dims = 64, .scaling = scaling}, {});
  BatchRope rows;
  const int32_t positions[] = {0, 3};
  table.Fill(positions, rows);
  EXPECT_FLOAT_EQ(rows.cos[0], 1.25f);
  EXPECT_FLOAT_EQ(rows.sin[0], 0);
  EXPECT_FLOAT_EQ(rows.cos[32], 1.25f * std::cos(3.0f));
  EXPECT_FLOAT_EQ(rows.sin[32], 1.25f * std::sin(3.0f));
}

TEST(Rope, DivisorsComeFromATensor) {
  const std::vector<float> divisors = {1, 2, 4, 8};
  const RopeTable table({.dims = 8, .scaling = RopeDivisors{"rope_freqs.weight"}}, divisors);
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_FLOAT_EQ(table.inverse_frequencies()[i], Frequencies({})[i] / divisors[i]);
  }
}

}  // namespace
}  // namespace gannet
