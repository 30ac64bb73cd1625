// The only place with locks: how other threads speak to the engine's thread, and hear from it.
#pragma once

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "engine/engine.h"
#include "engine/request.h"

namespace gannet {

struct Submission {
  RequestId id = 0;
  Request request;
  std::shared_ptr<TokenSink> sink;
};

// Into the engine.
class Mailbox {
 public:
  explicit Mailbox(int max_accepted) : max_accepted_(max_accepted) {}

  // kBusy beyond max_accepted unfinished requests, kUnavailable while draining.
  Result<RequestId> Submit(Request request, std::shared_ptr<TokenSink> sink);
  void Cancel(RequestId id);
  void Drain();
  void Stop();

  struct Mail {
    std::vector<Submission> submissions;
    std::vector<RequestId> cancellations;
    bool stop = false;
  };
  // Takes what has arrived; with `wait`, blocks until something has.
  Mail Take(bool wait);
  // The engine's word on its state after a step; `waiting` makes room in the queue.
  void Publish(const EngineStats& stats);
  EngineStats stats() const;
  void WaitIdle();

 private:
  const int max_accepted_;
  mutable std::mutex mutex_;
  std::condition_variable arrived_;
  std::condition_variable published_;
  Mail mail_;
  EngineStats stats_;
  RequestId next_id_ = 1;
  int unpublished_ = 0;  // submissions the engine took or will take that stats_ does not count yet
  bool draining_ = false;
};

// A sink whose reader blocks: for the command line and tests.
class TokenQueue : public TokenSink {
 public:
  void OnToken(const TokenEvent& event) override;
  TokenEvent Next();  // blocks

 private:
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::deque<TokenEvent> events_;
};

}  // namespace gannet
