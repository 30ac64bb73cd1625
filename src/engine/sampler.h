// From a logits row to a token: a pure function of the row, the request's parameters and history, and the position.
#pragma once

#include <span>
#include <unordered_map>
#include <vector>

#include "engine/request.h"

namespace gannet {

// Which tokens a request has seen; kept only when a penalty asks for it.
class TokenHistory {
 public:
  void AddPrompt(std::span<const TokenId> tokens);
  void AddGenerated(TokenId token);
  const std::unordered_map<TokenId, int>& counts() const { return counts_; }

 private:
  std::unordered_map<TokenId, int> counts_;  // 0 for tokens of the prompt alone
};

struct SampledToken {
  bool ok = false;  // false: no finite logit is left
  TokenId token = 0;
  float logprob = 0;                       // when params.top_logprobs >= 0
  std::vector<TokenLogprob> top_logprobs;  // the params.top_logprobs largest
};

// Order: repetition, frequency and presence penalties, logit bias, (stop ids masked while fewer than min_tokens are
// generated), temperature, top-k, top-p, min-p; then argmax of logit / temperature + Gumbel noise, the noise a function
// of (seed, position, token) (Philox; Gumbel-max trick, Gumbel 1954). At temperature 0 the largest logit, the lowest id
// of equals. `position` is the sampled token's position in the sequence.
SampledToken Sample(std::span<const float> logits, const SamplingParams& params, const TokenHistory& history,
                    int generated, int64_t position);

}  // namespace gannet
