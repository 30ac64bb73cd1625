// POST /v1/completions: the body.
#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "server/job.h"

namespace gannet {
namespace {

constexpr int64_t kDefaultMaxTokens = 16;

struct RawPrompt {
  const std::string* text = nullptr;
  const Json::Array* ids = nullptr;
};

// string | [string] | [int] | [[int]]
Result<std::vector<RawPrompt>> ListPrompts(const Json* prompt) {
  const Error wrong{
      "'prompt' must be a string, an array of strings, an array of token ids, or an array of such arrays.",
      ErrorKind::kInvalid, "prompt"};
  if (prompt == nullptr) return Error{"'prompt' is missing.", ErrorKind::kInvalid, "prompt"};
  if (prompt->is_string()) return std::vector<RawPrompt>{{&prompt->as_string(), nullptr}};
  if (!prompt->is_array() || prompt->as_array().empty()) return wrong;
  const Json::Array& items = prompt->as_array();
  if (items[0].is_number()) return std::vector<RawPrompt>{{nullptr, &items}};
  std::vector<RawPrompt> prompts;
  for (const Json& item : items) {
    if (item.is_string()) {
      prompts.push_back({&item.as_string(), nullptr});
    } else if (item.is_array()) {
      prompts.push_back({nullptr, &item.as_array()});
    } else {
      return wrong;
    }
  }
  return prompts;
}

Result<std::vector<TokenId>> ReadIds(const Json::Array& items) {
  std::vector<TokenId> ids;
  ids.reserve(items.size());
  for (const Json& item : items) {
    const std::optional<int64_t> id = item.is_number() ? item.as_int() : std::nullopt;
    if (!id || *id < 0 || *id > std::numeric_limits<TokenId>::max()) {
      return Error{fmt::format("'prompt' has an element that is no token id, at position {}.", ids.size()),
                   ErrorKind::kInvalid, "prompt"};
    }
    ids.push_back(static_cast<TokenId>(*id));
  }
  return ids;
}

// [[a, b], ...]; whether they are parts of the prompt is the engine's to say.
Result<std::vector<TokenSpan>> ReadSpans(const Json& field) {
  const Error wrong{
      "'bidirectional_spans' must be an array of pairs of token positions: [[first, one past the last], ...].",
      ErrorKind::kInvalid, "bidirectional_spans"};
  std::vector<TokenSpan> spans;
  for (const Json& item : field.as_array()) {
    if (!item.is_array() || item.as_array().size() != 2) return wrong;
    std::optional<int64_t> ends[2];
    for (size_t i = 0; i < 2; ++i) {
      if (item.as_array()[i].is_number()) ends[i] = item.as_array()[i].as_int();
    }
    if (!ends[0] || !ends[1]) return wrong;
    spans.push_back({*ends[0], *ends[1]});
  }
  return spans;
}

}  // namespace

Result<Job> ParseCompletions(std::string_view body, const TextModel& text, const JobLimits& limits) {
  GANNET_TRY(const Json json, ParseBody(body));
  FieldReader fields(json);
  Job job;
  job.endpoint = Endpoint::kCompletions;
  job.model_name = limits.model_name;
  const std::optional<std::string> model = fields.String("model");
  const Json* prompt = fields.Any("prompt");
  const Json* spans = fields.Array("bidirectional_spans");
  ReadSharedFields(fields, text, job);
  const std::optional<int64_t> max_tokens = fields.Integer("max_tokens", 1, std::numeric_limits<int>::max());
  const std::optional<int64_t> best_of = fields.Integer("best_of", 1, 128);
  const bool echo = fields.Bool("echo").value_or(false);
  const bool add_special = fields.Bool("add_special_tokens").value_or(true);
  if (const std::optional<int64_t> logprobs = fields.Integer("logprobs", 0, 20)) {
    job.logprobs = true;
    job.sampling.top_logprobs = static_cast<int>(*logprobs);
  }
  if (best_of && *best_of != job.n) {
    fields.Fail("best_of", "'best_of' other than 'n' is not supported; leave it out.");
  }
  if (echo && job.logprobs) {
    fields.Fail("echo", "'echo' together with 'logprobs' is not supported; leave one of them out.");
  }
  fields.Refuse({"suffix", "response_format", "guided_json", "guided_regex", "guided_choice", "guided_grammar"});
  GANNET_TRY(const auto finished, fields.Finish());
  static_cast<void>(finished);
  GANNET_TRY(const auto known, CheckModel(model, limits.model_name));
  static_cast<void>(known);

  GANNET_TRY(const std::vector<RawPrompt> prompts, ListPrompts(prompt));
  if (prompts.size() * static_cast<size_t>(job.n) > static_cast<size_t>(limits.max_choices)) {
    return Error{fmt::format("{} prompts times n = {} are more than the {} completions a request may ask for.",
                             prompts.size(), job.n, limits.max_choices),
                 ErrorKind::kInvalid, "prompt"};
  }
  if (spans != nullptr && (prompts.size() != 1 || prompts[0].ids == nullptr)) {
    return Error{"'bidirectional_spans' needs a 'prompt' of token ids, and one prompt alone.", ErrorKind::kInvalid,
                 "bidirectional_spans"};
  }
  for (const RawPrompt& raw : prompts) {
    PromptInput input;
    if (spans != nullptr) {
      GANNET_TRY(input.bidirectional_spans, ReadSpans(*spans));
    }
    if (raw.text != nullptr) {
      input.tokens = text.tokenizer->Encode(*raw.text, {.add_special = add_special, .parse_special = true});
      if (echo) input.echo = *raw.text;
    } else {
      GANNET_TRY(input.tokens, ReadIds(*raw.ids));
      // Ids outside the vocabulary are the engine's to refuse, so the text waits until they were accepted.
    }
    job.prompts.push_back(std::move(input));
  }
  job.echo = echo;
  GANNET_TRY(const auto fits, FitContext(job, max_tokens, kDefaultMaxTokens, limits.max_context, "prompt"));
  static_cast<void>(fits);
  return job;
}

}  // namespace gannet
