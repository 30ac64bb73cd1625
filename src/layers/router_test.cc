#include "layers/router.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

namespace gannet {
namespace {

std::vector<ChosenExpert> Routed(const RouterSpec& spec, const std::vector<float>& logits,
                                 const std::vector<float>& correction = {}) {
  std::vector<ChosenExpert> chosen(static_cast<size_t>(spec.chosen));
  Route(spec, logits, correction, chosen);
  return chosen;
}

double Sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

TEST(Router, SigmoidChoosesWithTheCorrectionAndWeighsWithout) {
  const RouterSpec spec{.experts = 4, .chosen = 2, .correction_bias = true, .scaling = 2.5};
  const auto chosen = Routed(spec, {0, 1, 2, -1}, {0, 0, -1, 1});
  // Choices: 0.5, 0.731, -0.119, 1.269.
  ASSERT_EQ(chosen[0].expert, 3);
  ASSERT_EQ(chosen[1].expert, 1);
  const double sum = Sigmoid(-1) + Sigmoid(1);
  EXPECT_NEAR(chosen[0].weight, Sigmoid(-1) / sum * 2.5, 1e-6);
  EXPECT_NEAR(chosen[1].weight, Sigmoid(1) / sum * 2.5, 1e-6);
}

TEST(Router, SoftmaxWithAndWithoutNormalization) {
  RouterSpec spec{.scoring = RouterSpec::Scoring::kSoftmax, .experts = 3, .chosen = 2, .normalize = false};
  const double sum = std::exp(1) + std::exp(2) + std::exp(3);
  auto chosen = Routed(spec, {1, 3, 2});
  EXPECT_EQ(chosen[0].expert, 1);
  EXPECT_NEAR(chosen[0].weight, std::exp(3) / sum, 1e-6);
  EXPECT_NEAR(chosen[1].weight, std::exp(2) / sum, 1e-6);
  spec.normalize = true;
  chosen = Routed(spec, {1, 3, 2});
  EXPECT_NEAR(chosen[0].weight, std::exp(3) / (std::exp(3) + std::exp(2)), 1e-6);
  spec.scoring = RouterSpec::Scoring::kSoftmaxOfChosen;
  EXPECT_NEAR(Routed(spec, {1, 3, 2})[0].weight, std::exp(3) / (std::exp(3) + std::exp(2)), 1e-6);
}

TEST(Router, OnlyTheBestGroupsCount) {
  // Groups {0, 1}, {2, 3}, {4, 5}: the sums of their two best are 1.0, 1.2 and 1.1 of the corrected scores.
  const RouterSpec spec{.experts = 6, .chosen = 2, .correction_bias = true, .groups = 3, .chosen_groups = 1};
  const auto chosen = Routed(spec, {0, 0, 0, 0, 0, 0}, {0.5f, -0.5f, 0.1f, 0.1f, 0.4f, -0.3f});
  EXPECT_EQ(chosen[0].expert, 2);
  EXPECT_EQ(chosen[1].expert, 3);
}

TEST(Router, TiesGoToTheLowerIndex) {
  const RouterSpec spec{.experts = 5, .chosen = 3};
  const auto chosen = Routed(spec, {1, 1, 1, 1, 1});
  for (int i = 0; i < 3; ++i) EXPECT_EQ(chosen[static_cast<size_t>(i)].expert, i);
}

TEST(Router, NotANumberChoosesDistinctExperts) {
  const RouterSpec spec{.experts = 5, .chosen = 3, .groups = 5, .chosen_groups = 3};
  const float nan = std::nanf("");
  const auto chosen = Routed(spec, {nan, nan, nan, nan, nan});
  EXPECT_NE(chosen[0].expert, chosen[1].expert);
  EXPECT_NE(chosen[1].expert, chosen[2].expert);
}

}  // namespace
}  // namespace gannet
