#include "engine/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <set>

namespace gannet {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

std::vector<float> RandomLogits(size_t vocab, uint32_t seed, float spread = 3) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, spread);
  std::vector<float> logits(vocab);
  for (float& logit : logits) logit = normal(random);
  return logits;
}

std::vector<double> Softmax(const std::vector<float>& logits, double temperature) {
  std::vector<double> p;
  for (const float logit : logits) p.push_back(std::exp(logit / temperature));
  const double total = std::accumulate(p.begin(), p.end(), 0.0);
  for (double& x : p) x /= total;
  return p;
}

TokenId Draw(const std::vector<float>& logits, const SamplingParams& params, int64_t position = 0) {
  return Sample(logits, params, {}, 0, position).token;
}

// Over many positions the tokens follow the distribution: Pearson's statistic stays below its mean plus six deviations.
void ExpectDistribution(const std::vector<float>& logits, SamplingParams params, const std::vector<double>& expected) {
  constexpr int kDraws = 20000;
  std::vector<int> counts(logits.size());
  for (int i = 0; i < kDraws; ++i) ++counts[static_cast<size_t>(Draw(logits, params, i))];
  double statistic = 0;
  int freedom = -1;
  for (size_t i = 0; i < counts.size(); ++i) {
    const double mean = kDraws * expected[i];
    if (mean == 0) {
      EXPECT_EQ(counts[i], 0) << "token " << i << " is filtered out";
      continue;
    }
    statistic += (counts[i] - mean) * (counts[i] - mean) / mean;
    ++freedom;
  }
  EXPECT_LT(statistic, freedom + 6 * std::sqrt(2.0 * freedom));
}

TEST(Sampler, FollowsSoftmaxAtAnyTemperature) {
  const std::vector<float> logits = RandomLogits(12, 1, 1);
  for (const float temperature : {0.5f, 1.0f, 2.0f}) {
    SamplingParams params;
    params.temperature = temperature;
    params.seed = 99;
    ExpectDistribution(logits, params, Softmax(logits, temperature));
  }
}

TEST(Sampler, TopKTopPMinPKeepExactlyTheirSets) {
  const std::vector<float> logits = {0, 1, 2, 3, 4, 3, -1};
  const std::vector<double> p = Softmax(logits, 1);
  const auto renormalized = [&](const std::set<size_t>& kept) {
    std::vector<double> q(p.size());
    double total = 0;
    for (const size_t i : kept) total += p[i];
    for (const size_t i : kept) q[i] = p[i] / total;
    return q;
  };
  SamplingParams top_k;
  top_k.top_k = 2;  // of the equal tokens 3 and 5 the lower id stays
  ExpectDistribution(logits, top_k, renormalized({4, 3}));
  SamplingParams top_p;
  top_p.top_p = static_cast<float>(p[4] + p[3] + 0.01);
  ExpectDistribution(logits, top_p, renormalized({4, 3, 5}));
  SamplingParams min_p;
  min_p.min_p = 0.2f;  // e^-1 > 0.2 > e^-2
  ExpectDistribution(logits, min_p, renormalized({4, 3, 5}));
  SamplingParams nothing;
  nothing.top_p = 0;
  EXPECT_EQ(Draw(logits, nothing), 4);
}

TEST(Sampler, TopPOfAWideRowAgreesWithAFullSort) {
  const std::vector<float> logits = RandomLogits(5000, 7, 2);
  std::vector<double> p = Softmax(logits, 1);
  std::vector<size_t> order(p.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::sort(order, [&](size_t a, size_t b) { return p[a] > p[b]; });
  std::set<TokenId> kept;
  double mass = 0;
  for (const size_t i : order) {
    if (mass >= 0.5) break;
    mass += p[i];
    kept.insert(static_cast<TokenId>(i));
  }
  SamplingParams params;
  params.top_p = 0.5f;
  for (int position = 0; position < 2000; ++position) EXPECT_TRUE(kept.contains(Draw(logits, params, position)));
}

TEST(Sampler, IsAFunctionOfRowSeedAndPosition) {
  const std::vector<float> logits = RandomLogits(1000, 3);
  SamplingParams params;
  std::set<TokenId> by_seed;
  std::set<TokenId> by_position;
  for (int i = 0; i < 50; ++i) {
    params.seed = static_cast<uint64_t>(i);
    EXPECT_EQ(Draw(logits, params, 5), Draw(logits, params, 5));
    by_seed.insert(Draw(logits, params, 5));
    params.seed = 1;
    by_position.insert(Draw(logits, params, i));
  }
  EXPECT_GT(by_seed.size(), 5u);
  EXPECT_GT(by_position.size(), 5u);
}

TEST(Sampler, GreedyTakesTheLowestIdOfEquals) {
  SamplingParams params;
  params.temperature = 0;
  EXPECT_EQ(Draw({1, 3, 3, 2}, params), 1);
}

TEST(Sampler, PenaltiesFollowTheirDefinitions) {
  TokenHistory history;
  history.AddPrompt(std::vector<TokenId>{0});
  history.AddGenerated(1);
  history.AddGenerated(1);
  SamplingParams params;
  params.temperature = 0;
  // Frequency and presence count generated tokens alone; repetition counts the prompt too.
  params.frequency_penalty = 0.5f;
  params.presence_penalty = 0.25f;
  EXPECT_EQ(Sample(std::vector<float>{1.0f, 2.24f, 0.5f}, params, history, 2, 3).token, 0);
  EXPECT_EQ(Sample(std::vector<float>{0.9f, 2.26f, 0.5f}, params, history, 2, 3).token, 1);
  SamplingParams repetition;
  repetition.temperature = 0;
  repetition.repetition_penalty = 2;
  EXPECT_EQ(Sample(std::vector<float>{3.9f, 1.0f, 2.0f}, repetition, history, 2, 3).token, 2);
  EXPECT_EQ(Sample(std::vector<float>{-1.0f, -1.1f, -1.9f}, repetition, history, 2, 3).token, 2);
}

TEST(Sampler, BiasAndMinTokens) {
  SamplingParams params;
  params.temperature = 0;
  params.logit_bias = {{2, 100}, {0, -100}};
  EXPECT_EQ(Draw({5, 1, 0}, params), 2);
  SamplingParams stops;
  stops.temperature = 0;
  stops.stop_ids = {0};
  stops.min_tokens = 2;
  EXPECT_EQ(Sample(std::vector<float>{5, 1, 0}, stops, {}, 1, 1).token, 1);
  EXPECT_EQ(Sample(std::vector<float>{5, 1, 0}, stops, {}, 2, 2).token, 0);
}

TEST(Sampler, LogprobsAreOfTheModelNotOfTheFilters) {
  const std::vector<float> logits = {0, 1, 2, 1};
  SamplingParams params;
  params.temperature = 0;
  params.top_k = 1;
  params.top_logprobs = 3;
  const SampledToken sampled = Sample(logits, params, {}, 0, 0);
  const std::vector<double> p = Softmax(logits, 1);
  EXPECT_NEAR(sampled.logprob, std::log(p[2]), 1e-6);
  ASSERT_EQ(sampled.top_logprobs.size(), 3u);
  EXPECT_EQ(sampled.top_logprobs[0].token, 2);
  EXPECT_EQ(sampled.top_logprobs[1].token, 1);
  EXPECT_EQ(sampled.top_logprobs[2].token, 3);
  EXPECT_NEAR(sampled.top_logprobs[2].logprob, std::log(p[3]), 1e-6);
}

TEST(Sampler, GreedyIsTheFirstOfTheGreatestNumbers) {
  SamplingParams greedy;
  greedy.temperature = 0;
  std::mt19937 random(7);
  for (size_t vocab = 1; vocab < 200; ++vocab) {
    std::vector<float> logits(vocab);
    for (float& logit : logits) {  // few values, so that the greatest comes often
      const int value = static_cast<int>(random() % 8) - 4;
      logit = value == -4 ? std::nanf("") : value == -3 ? -kInfinity : static_cast<float>(value);
    }
    TokenId first = -1;
    for (size_t i = 0; i < vocab; ++i) {
      const float best = first < 0 ? -kInfinity : logits[static_cast<size_t>(first)];
      if (logits[i] > best) first = static_cast<TokenId>(i);
    }
    const SampledToken sampled = Sample(logits, greedy, {}, 0, 0);
    ASSERT_EQ(sampled.ok ? sampled.token : -1, first) << vocab;
  }
}

TEST(Sampler, BrokenRowsAreSaidToBe) {
  const float nan = std::nanf("");
  EXPECT_FALSE(Sample(std::vector<float>{nan, nan}, {}, {}, 0, 0).ok);
  EXPECT_FALSE(Sample(std::vector<float>{-kInfinity, -kInfinity}, {}, {}, 0, 0).ok);
  EXPECT_FALSE(Sample(std::vector<float>{kInfinity, 0}, {}, {}, 0, 0).ok);
  SamplingParams params;
  EXPECT_EQ(Draw({nan, 1, -kInfinity}, params), 1);
}

}  // namespace
}  // namespace gannet
