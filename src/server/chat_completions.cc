// POST /v1/chat/completions: the body.
#include <limits>

#include "server/job.h"

namespace gannet {

Result<Job> ParseChat(std::string_view body, const TextModel& text, const JobLimits& limits) {
  GANNET_TRY(const Json json, ParseBody(body));
  FieldReader fields(json);
  Job job;
  job.endpoint = Endpoint::kChat;
  job.model_name = limits.model_name;
  const std::optional<std::string> model = fields.String("model");
  const Json* messages = fields.Array("messages");
  ReadSharedFields(fields, text, job);
  constexpr int64_t kIntMax = std::numeric_limits<int>::max();
  const std::optional<int64_t> max_tokens = fields.Integer("max_tokens", 1, kIntMax);
  const std::optional<int64_t> max_completion_tokens = fields.Integer("max_completion_tokens", 1, kIntMax);
  job.logprobs = fields.Bool("logprobs").value_or(false);
  const std::optional<int64_t> top_logprobs = fields.Integer("top_logprobs", 0, 20);
  if (top_logprobs && !job.logprobs) fields.Fail("top_logprobs", "'top_logprobs' needs 'logprobs': true.");
  if (job.logprobs) job.sampling.top_logprobs = static_cast<int>(top_logprobs.value_or(0));

  const Json* template_kwargs = fields.Object("chat_template_kwargs");
  const std::optional<std::string> reasoning_effort = fields.String("reasoning_effort");
  const Json* tool_choice = fields.Any("tool_choice");
  if (tool_choice != nullptr && *tool_choice != Json("none") && *tool_choice != Json("auto")) {
    fields.Fail("tool_choice", "'tool_choice' is not supported by this server; leave it out.");
  }
  const Json* response_format = fields.Object("response_format");
  if (response_format != nullptr) {
    const Json* type = response_format->Find("type");
    if (type == nullptr || *type != Json("text")) {
      fields.Fail("response_format", "The only 'response_format' this server supports is {\"type\": \"text\"}.");
    }
  }
  const Json* modalities = fields.Any("modalities");
  if (modalities != nullptr && *modalities != Json(Json::Array{"text"})) {
    fields.Fail("modalities", "The only one of 'modalities' this server supports is \"text\".");
  }
  fields.Refuse({"tools", "functions", "function_call", "audio", "verbosity", "web_search_options", "guided_json",
                 "guided_regex", "guided_choice", "guided_grammar", "documents"});
  fields.Ignore({"parallel_tool_calls", "prediction"});
  GANNET_TRY(const auto finished, fields.Finish());
  static_cast<void>(finished);
  GANNET_TRY(const auto known, CheckModel(model, limits.model_name));
  static_cast<void>(known);
  if (messages == nullptr || messages->as_array().empty()) {
    return Error{"'messages' must be an array with at least one message.", ErrorKind::kInvalid, "messages"};
  }

  Json chat;
  chat.Set("messages", *messages);
  if (template_kwargs != nullptr) chat.Set("chat_template_kwargs", *template_kwargs);
  if (reasoning_effort) chat.Set("reasoning_effort", *reasoning_effort);
  Result<std::string> prompt = RenderChat(text, chat);
  if (!prompt.ok()) {
    Error error = prompt.error();
    if (error.param.empty()) error.param = "messages";
    return error;
  }
  // The template writes the special tokens itself.
  job.prompts.push_back({text.tokenizer->Encode(*prompt, {.add_special = false, .parse_special = true}), {}});
  GANNET_TRY(const auto fits, FitContext(job, max_completion_tokens ? max_completion_tokens : max_tokens, 0,
                                         limits.max_context, "messages"));
  static_cast<void>(fits);
  return job;
}

}  // namespace gannet
