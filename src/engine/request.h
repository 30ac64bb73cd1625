// What goes into the engine and what comes out: token ids, never text.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "kernels/attention_mask.h"

namespace gannet {

using TokenId = int32_t;
using RequestId = uint64_t;

struct SamplingParams {
  float temperature = 1;  // 0 is greedy
  int top_k = 0;          // 0: no limit
  float top_p = 1;
  float min_p = 0;               // keep tokens with p >= min_p * max p
  float repetition_penalty = 1;  // over prompt and output (arXiv 1909.05858)
  float frequency_penalty = 0;   // over output, as OpenAI defines both
  float presence_penalty = 0;
  std::vector<std::pair<TokenId, float>> logit_bias;
  uint64_t seed = 0;              // a sampled token is a function of (logits, seed, position)
  int max_tokens = 16;            // tokens to generate, >= 1
  int min_tokens = 0;             // no stop id ends the output before this many
  std::vector<TokenId> stop_ids;  // generation ends when one of them is sampled (the model's own end ids included here)
  int top_logprobs = -1;          // -1: no logprobs; k >= 0: the sampled token's and the k largest
};

struct Request {
  std::vector<TokenId> prompt;  // not empty
  // Parts of the prompt whose tokens see each other, later ones too; ascending, not overlapping.
  std::vector<TokenSpan> bidirectional_spans;
  SamplingParams sampling;
  int priority = 0;  // higher runs first; equal ones in order of arrival
};

enum class FinishReason { kNone, kStop, kLength, kCancelled, kError };
std::string_view NameOf(FinishReason reason);  // "stop", "length", ...

struct TokenLogprob {
  TokenId token = 0;
  float logprob = 0;  // natural log, of the model's distribution before temperature and filters
};

// One generated token, or the end of a request. The last event of a request has finish != kNone; exactly one such event
// is delivered, whatever happens. With kStop the token that stopped it is in `token` (has_token is true).
struct TokenEvent {
  RequestId request = 0;
  bool has_token = false;
  TokenId token = 0;
  float logprob = 0;                       // when asked for
  std::vector<TokenLogprob> top_logprobs;  // when asked for, largest first
  FinishReason finish = FinishReason::kNone;
  std::string_view error;         // with kError: a sentence that lives as long as the engine
  std::span<const float> logits;  // the row the token was sampled from, [vocab]; valid only during OnToken
  int prompt_tokens = 0;
  int cached_tokens = 0;  // prompt tokens whose cache was reused
  int generated_tokens = 0;
};

// Receives a request's events on the engine's thread; must not block and must not call the engine's blocking methods.
class TokenSink {
 public:
  virtual ~TokenSink() = default;
  virtual void OnToken(const TokenEvent& event) = 0;
};

}  // namespace gannet
