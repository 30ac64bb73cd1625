// What goes back to the client: the objects of OpenAI's completions and chat completions, whole or in pieces.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
#include "server/job.h"

namespace gannet {

struct LogprobEntry {
  std::string token;  // bytes
  float logprob = 0;
  std::vector<std::pair<std::string, float>> top;  // largest first
  int64_t text_offset = 0;                         // code points before the token, echoed prompt included
};

struct Usage {
  int64_t prompt_tokens = 0;
  int64_t cached_tokens = 0;
  int64_t completion_tokens = 0;
};

struct FinishedChoice {
  std::string text;
  std::vector<LogprobEntry> logprobs;
  std::string_view finish_reason;
};

// The JSON objects of one reply. A piece of a stream is one object.
class Reply {
 public:
  static std::unique_ptr<Reply> For(const Job& job);
  virtual ~Reply() = default;
  // What begins a choice of a stream; null when nothing does.
  virtual Json Begin(int choice) const = 0;
  virtual Json Delta(int choice, std::string text, const std::vector<LogprobEntry>& logprobs) const = 0;
  virtual Json End(int choice, std::string_view finish_reason) const = 0;
  Json StreamUsage(const Usage& usage) const;
  Json Whole(std::vector<FinishedChoice> choices, const Usage& usage) const;

 protected:
  Reply(const Job& job, std::string_view id_prefix, std::string_view object);
  virtual Json WholeChoice(FinishedChoice choice) const = 0;
  // A piece of the stream with this one choice, whose index and finish_reason are set here (null when empty).
  Json Piece(int choice, Json content, std::string_view finish_reason) const;
  bool logprobs_;

 private:
  Json Head(bool piece) const;
  bool include_usage_;
  std::string id_;
  std::string object_;
  std::string model_;
  int64_t created_;
};

Json UsageJson(const Usage& usage);

}  // namespace gannet
