// What one HTTP request asks of the engine: prompts as token ids, how to sample, how to answer.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/request.h"
#include "server/field_reader.h"
#include "server/text_model.h"

namespace gannet {

enum class Endpoint { kCompletions, kChat };

struct PromptInput {
  std::vector<TokenId> tokens;
  std::string echo;  // with Job::echo, the prompt's text where it was given as text
  std::vector<TokenSpan> bidirectional_spans = {};
};

struct Job {
  Endpoint endpoint = Endpoint::kChat;
  std::string model_name;
  std::vector<PromptInput> prompts;  // not empty
  int n = 1;                         // choices of each prompt; choice i samples with seed + i
  SamplingParams sampling;
  int priority = 0;
  std::vector<std::string> stop;
  bool skip_special_tokens = true;
  bool stream = false;
  bool include_usage = false;  // in a stream
  bool logprobs = false;
  bool echo = false;  // the prompt's text comes first
};

// What the parsers of a body need to know of the server.
struct JobLimits {
  std::string model_name;
  int64_t max_context = 0;  // tokens
  int max_choices = 128;
};

// Errors: kInvalid (param names the field), kNotFound (another model), kTooLarge (the prompt does not fit the context).
Result<Job> ParseCompletions(std::string_view body, const TextModel& text, const JobLimits& limits);
Result<Job> ParseChat(std::string_view body, const TextModel& text, const JobLimits& limits);

// The body as a JSON object.
Result<Json> ParseBody(std::string_view body);
// The fields that both endpoints share, all but max_tokens, logprobs and the prompt.
void ReadSharedFields(FieldReader& fields, const TextModel& text, Job& job);
// Checks `model`; empty is any.
Status CheckModel(const std::optional<std::string>& asked, const std::string& served);
// Sets sampling.max_tokens from what was asked (or `fallback`, 0: the rest of the context) and checks that every
// prompt fits beside it; `param` names the prompt's field.
Status FitContext(Job& job, std::optional<int64_t> asked, int64_t fallback, int64_t max_context,
                  const std::string& param);

}  // namespace gannet
