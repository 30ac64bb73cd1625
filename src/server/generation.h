// One HTTP request while the engine works on it: its choices' tokens become text.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/thread_pool.h"
#include "chat/text_stream.h"
#include "server/http_message.h"
#include "server/job.h"
#include "server/reply.h"
#include "server/token_engine.h"

namespace gannet {

// Between the engine's thread and the server's: closed before the server's executors end, so that a sink that the
// engine still holds touches nothing that is gone.
class Gate {
 public:
  // Runs `task` unless closed; Close waits for it.
  void IfOpen(FunctionRef<void()> task);
  void Close();

 private:
  std::mutex mutex_;
  bool open_ = true;
};

// All methods are called on `executor`, on which the engine's events arrive too.
class Generation : public std::enable_shared_from_this<Generation> {
 public:
  // Submits every choice, or none: when one is refused the others are cancelled. `wake` is called after events.
  static Result<std::shared_ptr<Generation>> Start(Job job, std::shared_ptr<const TextModel> text, TokenEngine& engine,
                                                   const std::shared_ptr<Gate>& gate,
                                                   boost::asio::any_io_executor executor, std::function<void()> wake);
  ~Generation();  // cancels

  bool done() const { return open_choices_ == 0 || failure_.has_value(); }
  // Set when the engine gave up on a choice. The others are cancelled.
  const std::optional<ApiError>& failure() const { return failure_; }
  // Server-sent events since the last call, the closing ones included once done.
  std::string TakeEvents();
  // Once done without failure.
  Json Whole();
  // Cancels what still runs; nothing more is told.
  void Cancel();

 private:
  struct Choice {
    Choice(RequestId id, TextStream stream) : id(id), stream(std::move(stream)) {}
    RequestId id;
    TextStream stream;
    std::vector<LogprobEntry> held;  // of tokens whose text has not come out yet
    FinishedChoice result;           // not filled in a stream
    int64_t text_offset = 0;
    int64_t generated_tokens = 0;
    int64_t cached_tokens = 0;
    bool done = false;
  };
  class Sink;

  Generation(Job job, std::shared_ptr<const TextModel> text, TokenEngine& engine, boost::asio::any_io_executor executor,
             std::function<void()> wake);
  Status Submit(const std::shared_ptr<Gate>& gate);
  void OnEvent(int index, const TokenEvent& event);
  void AddLogprob(Choice& choice, const TokenEvent& event);
  void AddText(int index, std::string text);
  void FlushLogprobs(int index);
  void Finish(int index, std::string_view reason);
  void Fail(ApiError error);
  void Emit(const Json& piece);
  Usage Count() const;

  Job job_;
  std::shared_ptr<const TextModel> text_;
  TokenEngine& engine_;
  boost::asio::any_io_executor executor_;
  std::function<void()> wake_;
  std::unique_ptr<Reply> reply_;
  std::vector<Choice> choices_;
  size_t open_choices_ = 0;
  std::optional<ApiError> failure_;
  std::string events_;
  bool ended_ = false;
  bool cancelled_ = false;
};

// "data: ...\n\n"
std::string ServerSentEvent(std::string_view data);

}  // namespace gannet
