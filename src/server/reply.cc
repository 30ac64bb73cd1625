#include "server/reply.h"

#include <fmt/format.h>

#include <chrono>
#include <random>

namespace gannet {
namespace {

std::string RandomId(std::string_view prefix) {
  thread_local std::mt19937_64 generator{std::random_device{}()};
  return fmt::format("{}-{:016x}{:016x}", prefix, generator(), generator());
}

// Text for JSON: bytes that are no UTF-8 (a token may hold half a character) become U+FFFD.
std::string Printable(std::string_view bytes) {
  std::string out;
  size_t i = 0;
  while (i < bytes.size()) {
    const auto lead = static_cast<unsigned char>(bytes[i]);
    const size_t length = lead < 0x80                   ? 1
                          : lead >= 0xc2 && lead < 0xe0 ? 2
                          : (lead >> 4) == 0xe          ? 3
                          : lead >= 0xf0 && lead < 0xf5 ? 4
                                                        : 0;
    bool valid = length != 0 && i + length <= bytes.size();
    for (size_t k = 1; valid && k < length; ++k) {
      const auto next = static_cast<unsigned char>(bytes[i + k]);
      // The second byte excludes overlong forms, surrogates and what lies beyond U+10FFFF (RFC 3629, section 4).
      const unsigned low = k > 1 ? 0x80 : lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
      const unsigned high = k > 1 ? 0xbf : lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
      valid = next >= low && next <= high;
    }
    if (valid) {
      out += bytes.substr(i, length);
      i += length;
    } else {
      out += "\xef\xbf\xbd";
      ++i;
    }
  }
  return out;
}

Json BytesJson(std::string_view bytes) {
  Json::Array array;
  for (const char c : bytes) array.emplace_back(static_cast<int>(static_cast<unsigned char>(c)));
  return array;
}

// Some clients cannot read -inf or null here; -9999 is what OpenAI's documentation names for "very unlikely".
Json LogprobJson(float logprob) { return static_cast<double>(logprob >= -9999.0f ? logprob : -9999.0f); }

class CompletionsReply final : public Reply {
 public:
  explicit CompletionsReply(const Job& job) : Reply(job, "cmpl", "text_completion") {
    for (const PromptInput& prompt : job.prompts) {
      for (int i = 0; i < job.n; ++i) echoes_.push_back(prompt.echo);
    }
  }
  Json Begin(int choice) const override {
    return echoes_[choice].empty() ? Json() : Piece(choice, Content(echoes_[choice], {}), "");
  }
  Json Delta(int choice, std::string text, const std::vector<LogprobEntry>& logprobs) const override {
    return Piece(choice, Content(std::move(text), logprobs), "");
  }
  Json End(int choice, std::string_view finish_reason) const override {
    return Piece(choice, Content("", {}), finish_reason);
  }

 private:
  Json WholeChoice(FinishedChoice choice) const override { return Content(std::move(choice.text), choice.logprobs); }

  Json Content(std::string text, const std::vector<LogprobEntry>& entries) const {
    Json content;
    content.Set("text", std::move(text));
    Json logprobs;
    if (logprobs_) {
      Json::Array tokens, values, tops, offsets;
      for (const LogprobEntry& entry : entries) {
        tokens.emplace_back(Printable(entry.token));
        values.push_back(LogprobJson(entry.logprob));
        offsets.emplace_back(entry.text_offset);
        Json top = Json::Object{};
        for (const auto& [token, logprob] : entry.top) {
          // Distinct tokens may print alike (halves of characters); the likelier one stays.
          const std::string name = Printable(token);
          if (top.Find(name) == nullptr) top.Set(name, LogprobJson(logprob));
        }
        tops.push_back(std::move(top));
      }
      logprobs.Set("tokens", std::move(tokens));
      logprobs.Set("token_logprobs", std::move(values));
      logprobs.Set("top_logprobs", std::move(tops));
      logprobs.Set("text_offset", std::move(offsets));
    }
    content.Set("logprobs", std::move(logprobs));
    return content;
  }

  std::vector<std::string> echoes_;
};

class ChatReply final : public Reply {
 public:
  explicit ChatReply(const Job& job) : Reply(job, "chatcmpl", "chat.completion") {}
  Json Begin(int choice) const override {
    Json delta;
    delta.Set("role", "assistant");
    delta.Set("content", "");
    return Piece(choice, Content("delta", std::move(delta), {}), "");
  }
  Json Delta(int choice, std::string text, const std::vector<LogprobEntry>& logprobs) const override {
    Json delta;
    delta.Set("content", std::move(text));
    return Piece(choice, Content("delta", std::move(delta), logprobs), "");
  }
  Json End(int choice, std::string_view finish_reason) const override {
    return Piece(choice, Content("delta", Json::Object{}, {}), finish_reason);
  }

 private:
  Json WholeChoice(FinishedChoice choice) const override {
    Json message;
    message.Set("role", "assistant");
    message.Set("content", std::move(choice.text));
    message.Set("refusal", Json());
    return Content("message", std::move(message), choice.logprobs);
  }

  static Json TokenJson(std::string_view token, float logprob) {
    Json json;
    json.Set("token", Printable(token));
    json.Set("logprob", LogprobJson(logprob));
    json.Set("bytes", BytesJson(token));
    return json;
  }

  Json Content(std::string_view name, Json message, const std::vector<LogprobEntry>& entries) const {
    Json content;
    content.Set(name, std::move(message));
    Json logprobs;
    if (logprobs_) {
      Json::Array tokens;
      for (const LogprobEntry& entry : entries) {
        Json token = TokenJson(entry.token, entry.logprob);
        Json::Array top;
        for (const auto& [text, logprob] : entry.top) top.push_back(TokenJson(text, logprob));
        token.Set("top_logprobs", std::move(top));
        tokens.push_back(std::move(token));
      }
      logprobs.Set("content", std::move(tokens));
      logprobs.Set("refusal", Json());
    }
    content.Set("logprobs", std::move(logprobs));
    return content;
  }
};

}  // namespace

std::unique_ptr<Reply> Reply::For(const Job& job) {
  if (job.endpoint == Endpoint::kChat) return std::make_unique<ChatReply>(job);
  return std::make_unique<CompletionsReply>(job);
}

Reply::Reply(const Job& job, std::string_view id_prefix, std::string_view object)
    : logprobs_(job.logprobs),
      include_usage_(job.include_usage),
      id_(RandomId(id_prefix)),
      object_(object),
      model_(job.model_name),
      created_(std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch())
                   .count()) {}

Json Reply::Head(bool piece) const {
  Json head;
  head.Set("id", id_);
  head.Set("object", piece && object_ == "chat.completion" ? "chat.completion.chunk" : object_);
  head.Set("created", created_);
  head.Set("model", model_);
  return head;
}

Json Reply::Piece(int choice, Json content, std::string_view finish_reason) const {
  Json with_index;
  with_index.Set("index", choice);
  for (Json::Member& member : content.as_object()) with_index.Set(member.key, std::move(member.value));
  with_index.Set("finish_reason", finish_reason.empty() ? Json() : Json(finish_reason));
  Json piece = Head(true);
  piece.Set("choices", Json::Array{std::move(with_index)});
  if (include_usage_) piece.Set("usage", Json());
  return piece;
}

Json Reply::StreamUsage(const Usage& usage) const {
  Json piece = Head(true);
  piece.Set("choices", Json::Array{});
  piece.Set("usage", UsageJson(usage));
  return piece;
}

Json Reply::Whole(std::vector<FinishedChoice> choices, const Usage& usage) const {
  Json::Array list;
  for (FinishedChoice& choice : choices) {
    const std::string_view finish_reason = choice.finish_reason;
    Json json;
    json.Set("index", static_cast<int64_t>(list.size()));
    Json content = WholeChoice(std::move(choice));
    for (Json::Member& member : content.as_object()) json.Set(member.key, std::move(member.value));
    json.Set("finish_reason", finish_reason);
    list.push_back(std::move(json));
  }
  Json whole = Head(false);
  whole.Set("choices", std::move(list));
  whole.Set("usage", UsageJson(usage));
  return whole;
}

Json UsageJson(const Usage& usage) {
  Json json;
  json.Set("prompt_tokens", usage.prompt_tokens);
  json.Set("completion_tokens", usage.completion_tokens);
  json.Set("total_tokens", usage.prompt_tokens + usage.completion_tokens);
  Json details;
  details.Set("cached_tokens", usage.cached_tokens);
  json.Set("prompt_tokens_details", std::move(details));
  return json;
}

}  // namespace gannet
