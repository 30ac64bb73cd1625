#include "engine/sampler.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "base/philox.h"

namespace gannet {
namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();
// OpenUnit lies in [2^-25, 1 - 2^-25], so Gumbel noise lies in [-2.86, 17.33]: a token further below the best can't
// win.
constexpr float kGumbelRange = 20.25f;

struct Candidate {
  TokenId token;
  float logit;  // after penalties, bias and temperature
};

bool Before(const Candidate& a, const Candidate& b) {
  return a.logit > b.logit || (a.logit == b.logit && a.token < b.token);
}

void ApplyPenalties(const SamplingParams& params, const TokenHistory& history, std::span<float> logits) {
  for (const auto& [token, generated] : history.counts()) {
    float& logit = logits[static_cast<size_t>(token)];
    logit = logit > 0 ? logit / params.repetition_penalty : logit * params.repetition_penalty;
    if (generated > 0) logit -= params.frequency_penalty * static_cast<float>(generated) + params.presence_penalty;
  }
}

float Gumbel(uint64_t seed, int64_t position, TokenId token) {
  const uint64_t p = static_cast<uint64_t>(position);
  const auto bits = Philox(
      seed, {static_cast<uint32_t>(token), static_cast<uint32_t>(p), static_cast<uint32_t>(p >> 32), 0x67616e6eu});
  return -std::log(-std::log(OpenUnit(bits[0])));
}

// Keeps, of candidates with their total probability mass in `all`, those the filters allow.
void Filter(const SamplingParams& params, std::span<const float> logits, float best, std::vector<Candidate>& kept) {
  if (params.top_k > 0 && static_cast<size_t>(params.top_k) < kept.size()) {
    std::nth_element(kept.begin(), kept.begin() + params.top_k - 1, kept.end(), Before);
    kept.resize(static_cast<size_t>(params.top_k));
  }
  if (params.top_p < 1) {
    double total = 0;
    if (params.top_k > 0) {
      for (const Candidate& c : kept) total += std::exp(c.logit - best);
    } else {
      for (const float logit : logits) total += std::exp(logit - best);
    }
    // The smallest set of largest probabilities that reaches top_p; the most probable token always stays.
    double mass = 0;
    size_t count = 0;
    size_t sorted = 0;
    for (; count < kept.size() && (count == 0 || mass < params.top_p * total); ++count) {
      if (count == sorted) {
        sorted = std::min(kept.size(), std::max<size_t>(64, 4 * sorted));
        std::partial_sort(kept.begin() + static_cast<ptrdiff_t>(count), kept.begin() + static_cast<ptrdiff_t>(sorted),
                          kept.end(), Before);
      }
      mass += std::exp(kept[count].logit - best);
    }
    kept.resize(count);
  }
  if (params.min_p > 0) {
    const float floor = best + std::log(params.min_p);
    std::erase_if(kept, [&](const Candidate& c) { return c.logit < floor; });
  }
}

void AddLogprobs(std::span<const float> logits, int count, SampledToken& sampled) {
  const float best = *std::ranges::max_element(logits);
  double total = 0;
  for (const float logit : logits) total += std::exp(static_cast<double>(logit) - best);
  const double log_total = std::log(total) + best;
  const auto logprob = [&](TokenId token) {
    return static_cast<float>(logits[static_cast<size_t>(token)] - log_total);
  };
  sampled.logprob = logprob(sampled.token);
  if (count == 0) return;
  std::vector<TokenId> order(logits.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<TokenId>(i);
  const size_t top = std::min(order.size(), static_cast<size_t>(count));
  std::partial_sort(order.begin(), order.begin() + static_cast<ptrdiff_t>(top), order.end(), [&](TokenId a, TokenId b) {
    const float x = logits[static_cast<size_t>(a)];
    const float y = logits[static_cast<size_t>(b)];
    return x > y || (x == y && a < b);
  });
  for (size_t i = 0; i < top; ++i) sampled.top_logprobs.push_back({order[i], logprob(order[i])});
}

// Of the values that are numbers; kNever if none is.
float Greatest(std::span<const float> values) {
  constexpr size_t kLanes = 32;  // kept apart, so that they make vectors
  std::array<float, kLanes> most;
  most.fill(kNever);
  size_t i = 0;
  for (; i + kLanes <= values.size(); i += kLanes) {
    for (size_t lane = 0; lane < kLanes; ++lane) {
      const float value = values[i + lane];
      most[lane] = value > most[lane] ? value : most[lane];  // false for NaN
    }
  }
  for (; i < values.size(); ++i) most[0] = values[i] > most[0] ? values[i] : most[0];
  return std::ranges::max(most);
}

}  // namespace

void TokenHistory::AddPrompt(std::span<const TokenId> tokens) {
  for (const TokenId token : tokens) counts_.try_emplace(token, 0);
}

void TokenHistory::AddGenerated(TokenId token) { ++counts_[token]; }

SampledToken Sample(std::span<const float> logits, const SamplingParams& params, const TokenHistory& history,
                    int generated, int64_t position) {
  const bool mask_stops = generated < params.min_tokens && !params.stop_ids.empty();
  std::vector<float> changed;
  std::span<const float> row = logits;
  if (!history.counts().empty() || !params.logit_bias.empty() || mask_stops) {
    changed.assign(logits.begin(), logits.end());
    ApplyPenalties(params, history, changed);
    for (const auto& [token, bias] : params.logit_bias) changed[static_cast<size_t>(token)] += bias;
    if (mask_stops) {
      for (const TokenId token : params.stop_ids) changed[static_cast<size_t>(token)] = kNever;
    }
    row = changed;
  }

  const float best_logit = Greatest(row);
  SampledToken sampled;
  if (!std::isfinite(best_logit)) return sampled;
  sampled.ok = true;
  sampled.token = static_cast<TokenId>(std::ranges::find(row, best_logit) - row.begin());
  if (params.temperature > 0) {
    const float inverse = 1 / params.temperature;
    if (changed.empty()) changed.assign(logits.begin(), logits.end());
    for (float& logit : changed) logit = (logit - best_logit) * inverse;  // the best is 0 from here on
    const float reach = params.min_p > 0 ? std::log(params.min_p) : kNever;
    std::vector<Candidate> kept;
    for (size_t i = 0; i < changed.size(); ++i) {
      if (changed[i] >= std::max(-kGumbelRange, reach)) kept.push_back({static_cast<TokenId>(i), changed[i]});
    }
    Filter(params, changed, 0, kept);
    float best_score = kNever;
    for (const Candidate& c : kept) {
      const float score = c.logit + Gumbel(params.seed, position, c.token);
      if (score > best_score || (score == best_score && c.token < sampled.token)) {
        best_score = score;
        sampled.token = c.token;
      }
    }
  }
  if (params.top_logprobs >= 0) AddLogprobs(logits, params.top_logprobs, sampled);
  return sampled;
}

}  // namespace gannet
