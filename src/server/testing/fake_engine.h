// An engine that says what a test tells it to: one token a step for every request, on its own thread.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "server/token_engine.h"

namespace gannet::server_testing {

// Token ids of the test tokenizer: a byte is its own id.
inline constexpr TokenId kEndId = 256;
std::vector<TokenId> Bytes(std::string_view text);
// Waits for `condition`, at most a minute: sanitizers and loaded machines are slow. False when it did not come true.
bool Soon(const std::function<bool()>& condition);

class FakeEngine final : public TokenEngine {
 public:
  FakeEngine();
  ~FakeEngine() override;

  Result<RequestId> Submit(Request request, std::shared_ptr<TokenSink> sink) override;
  void Cancel(RequestId id) override;
  void Drain() override;
  EngineStats stats() const override;
  int64_t max_context() const override { return context; }

  // Set before the first request.
  int64_t context = 4096;
  size_t capacity = 64;                                                         // requests at a time; beyond it kBusy
  std::atomic<std::chrono::microseconds> step{std::chrono::microseconds(200)};  // length of a step
  // The tokens of an answer; the end id after them if `ends`. The answer to a request is cut at its max_tokens.
  std::function<std::vector<TokenId>(const Request&)> answer = [](const Request&) { return Bytes("Hello, world"); };
  bool ends = true;
  int cached_tokens = 0;
  int fail_after = -1;  // tokens before kError

  void Hold(bool hold) { hold_ = hold; }  // while held, no step is made
  std::vector<Request> requests() const;  // all that were accepted, in order
  int cancelled() const { return cancelled_; }
  int running() const;
  bool WaitUntilIdle() const {
    return Soon([this] { return running() == 0; });
  }

 private:
  struct Task {
    Request request;
    std::shared_ptr<TokenSink> sink;
    std::vector<TokenId> tokens;
    size_t next = 0;
  };
  void Loop();
  bool Step(RequestId id, Task& task);

  mutable std::mutex mutex_;
  std::map<RequestId, Task> tasks_;
  std::set<RequestId> to_cancel_;
  std::vector<Request> accepted_;
  RequestId next_id_ = 1;
  bool draining_ = false;
  std::atomic<bool> hold_{false};
  std::atomic<bool> stop_{false};
  std::atomic<int> cancelled_{0};
  std::thread thread_;
};

}  // namespace gannet::server_testing
