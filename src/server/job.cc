#include "server/job.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <random>

namespace gannet {
namespace {

constexpr size_t kMaxStopStrings = 16;
constexpr size_t kMaxStopBytes = 4096;
constexpr size_t kMaxBiases = 1024;

uint64_t RandomSeed() {
  thread_local std::mt19937_64 generator{std::random_device{}()};
  return generator();
}

void ReadStop(FieldReader& fields, Job& job) {
  const Json* stop = fields.Any("stop");
  if (stop == nullptr) return;
  std::vector<const Json*> items;
  if (stop->is_array()) {
    for (const Json& item : stop->as_array()) items.push_back(&item);
  } else {
    items.push_back(stop);
  }
  if (items.size() > kMaxStopStrings) {
    return fields.Fail(
        "stop", fmt::format("'stop' has {} strings, but at most {} are allowed.", items.size(), kMaxStopStrings));
  }
  for (const Json* item : items) {
    if (!item->is_string()) {
      return fields.Fail("stop",
                         fmt::format("'stop' must be a string or an array of strings, not {}{}.",
                                     stop->is_array() ? "an array with an element of type " : "", item->type_name()));
    }
    const std::string& text = item->as_string();
    if (text.empty() || text.size() > kMaxStopBytes) {
      return fields.Fail("stop", fmt::format("'stop' has a string of {} bytes, but each must have between 1 and {}.",
                                             text.size(), kMaxStopBytes));
    }
    job.stop.push_back(text);
  }
}

void ReadLogitBias(FieldReader& fields, Job& job) {
  const Json* bias = fields.Object("logit_bias");
  if (bias == nullptr) return;
  if (bias->as_object().size() > kMaxBiases) {
    return fields.Fail("logit_bias", fmt::format("'logit_bias' has more than {} entries.", kMaxBiases));
  }
  for (const auto& [key, value] : bias->as_object()) {
    const bool digits = !key.empty() && key.size() <= 9 &&
                        std::all_of(key.begin(), key.end(), [](char c) { return c >= '0' && c <= '9'; });
    if (!digits) {
      return fields.Fail("logit_bias", "'logit_bias' must map token ids, written as strings of digits, to numbers.");
    }
    if (!value.is_number() || !(value.as_double() >= -100 && value.as_double() <= 100)) {
      return fields.Fail("logit_bias",
                         fmt::format("'logit_bias' of token {} must be a number between -100 and 100.", key));
    }
    job.sampling.logit_bias.emplace_back(std::stoi(key), static_cast<float>(value.as_double()));
  }
}

void ReadStopIds(FieldReader& fields, const TextModel& text, Job& job) {
  const bool ignore_eos = fields.Bool("ignore_eos").value_or(false);
  if (!ignore_eos) job.sampling.stop_ids = text.end_ids;
  const Json* ids = fields.Array("stop_token_ids");
  if (ids == nullptr) return;
  for (const Json& id : ids->as_array()) {
    const std::optional<int64_t> value = id.is_number() ? id.as_int() : std::nullopt;
    if (!value || *value < 0 || *value > std::numeric_limits<TokenId>::max()) {
      return fields.Fail("stop_token_ids", "'stop_token_ids' must be an array of token ids.");
    }
    job.sampling.stop_ids.push_back(static_cast<TokenId>(*value));
  }
  std::sort(job.sampling.stop_ids.begin(), job.sampling.stop_ids.end());
  job.sampling.stop_ids.erase(std::unique(job.sampling.stop_ids.begin(), job.sampling.stop_ids.end()),
                              job.sampling.stop_ids.end());
}

void ReadStreamOptions(FieldReader& fields, Job& job) {
  job.stream = fields.Bool("stream").value_or(false);
  const Json* options = fields.Object("stream_options");
  if (options == nullptr) return;
  if (!job.stream) return fields.Fail("stream_options", "'stream_options' is for requests with 'stream': true.");
  FieldReader inner(*options);
  job.include_usage = inner.Bool("include_usage").value_or(false);
  inner.Ignore({"include_obfuscation"});
  if (const Status status = inner.Finish(); !status.ok()) {
    fields.Fail("stream_options." + status.error().param, "In 'stream_options': " + status.error().message);
  }
}

}  // namespace

Result<Json> ParseBody(std::string_view body) {
  if (body.empty()) return Error{"The body is empty; send a JSON object."};
  Result<Json> json = Json::Parse(body);
  if (!json.ok()) return Error{"The body is no valid JSON: " + json.error().message};
  if (!json->is_object()) {
    return Error{fmt::format("The body must be a JSON object, not {}.", json->type_name())};
  }
  return json;
}

Status CheckModel(const std::optional<std::string>& asked, const std::string& served) {
  if (!asked || asked->empty() || *asked == served) return Ok();
  return Error{fmt::format("The model '{}' does not exist here; this server has '{}'.", asked->substr(0, 200), served),
               ErrorKind::kNotFound, "model"};
}

void ReadSharedFields(FieldReader& fields, const TextModel& text, Job& job) {
  const GenerationDefaults& defaults = text.defaults;
  SamplingParams& sampling = job.sampling;
  const auto number = [&](std::string_view name, double low, double high, double fallback) {
    return static_cast<float>(fields.Number(name, low, high).value_or(fallback));
  };
  constexpr double kSmallest = 1e-6;
  sampling.temperature = number("temperature", 0, 2, defaults.temperature);
  sampling.top_p = number("top_p", kSmallest, 1, defaults.top_p);
  sampling.min_p = number("min_p", 0, 1, defaults.min_p);
  sampling.repetition_penalty = number("repetition_penalty", kSmallest, 10, defaults.repetition_penalty);
  sampling.frequency_penalty = number("frequency_penalty", -2, 2, 0);
  sampling.presence_penalty = number("presence_penalty", -2, 2, 0);
  constexpr int64_t kIntMax = std::numeric_limits<int>::max();
  const int64_t top_k = fields.Integer("top_k", -1, kIntMax).value_or(defaults.top_k);
  sampling.top_k = static_cast<int>(std::max<int64_t>(0, top_k));
  const std::optional<int64_t> seed =
      fields.Integer("seed", std::numeric_limits<int64_t>::min(), std::numeric_limits<int64_t>::max());
  sampling.seed = seed ? static_cast<uint64_t>(*seed) : RandomSeed();
  sampling.min_tokens = static_cast<int>(fields.Integer("min_tokens", 0, kIntMax).value_or(0));
  job.n = static_cast<int>(fields.Integer("n", 1, 128).value_or(1));
  job.priority = static_cast<int>(fields.Integer("priority", -1000000, 1000000).value_or(0));
  job.skip_special_tokens = fields.Bool("skip_special_tokens").value_or(true);
  ReadStop(fields, job);
  ReadLogitBias(fields, job);
  ReadStopIds(fields, text, job);
  ReadStreamOptions(fields, job);
  fields.Ignore(
      {"user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key", "prompt_cache_retention"});
}

Status FitContext(Job& job, std::optional<int64_t> asked, int64_t fallback, int64_t max_context,
                  const std::string& param) {
  int64_t longest = 0;
  for (const PromptInput& prompt : job.prompts) {
    if (prompt.tokens.empty()) {
      return Error{fmt::format("'{}' is empty; give at least one token.", param), ErrorKind::kInvalid, param};
    }
    longest = std::max<int64_t>(longest, static_cast<int64_t>(prompt.tokens.size()));
  }
  const int64_t rest = max_context - longest;
  if (rest < 1) {
    return Error{fmt::format("The prompt has {} tokens, but the context of this model holds {}, one of them for the "
                             "answer; shorten the prompt.",
                             longest, max_context),
                 ErrorKind::kTooLarge, param};
  }
  if (asked && *asked > rest) {
    return Error{fmt::format("The prompt has {} tokens and {} are asked for, but the context of this model holds {}; "
                             "shorten the prompt or ask for at most {}.",
                             longest, *asked, max_context, rest),
                 ErrorKind::kTooLarge, param};
  }
  const int64_t tokens = asked ? *asked : fallback == 0 ? rest : std::min(fallback, rest);
  job.sampling.max_tokens = static_cast<int>(std::min<int64_t>(tokens, std::numeric_limits<int>::max()));
  if (job.sampling.min_tokens > job.sampling.max_tokens) {
    return Error{fmt::format("'min_tokens' is {}, more than the {} tokens that may be generated.",
                             job.sampling.min_tokens, job.sampling.max_tokens),
                 ErrorKind::kInvalid, "min_tokens"};
  }
  return Ok();
}

}  // namespace gannet
