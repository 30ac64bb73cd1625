#include "server/testing/fake_engine.h"

#include <algorithm>
#include <vector>

namespace gannet::server_testing {

std::vector<TokenId> Bytes(std::string_view text) {
  std::vector<TokenId> ids;
  for (const char c : text) ids.push_back(static_cast<unsigned char>(c));
  return ids;
}

bool Soon(const std::function<bool()>& condition) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::minutes(1);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

FakeEngine::FakeEngine() : thread_([this] { Loop(); }) {}

FakeEngine::~FakeEngine() {
  stop_ = true;
  thread_.join();
}

Result<RequestId> FakeEngine::Submit(Request request, std::shared_ptr<TokenSink> sink) {
  const std::lock_guard lock(mutex_);
  if (draining_) return Error{"The engine is draining.", ErrorKind::kUnavailable};
  if (tasks_.size() >= capacity) return Error{"The queue is full; try again later.", ErrorKind::kBusy};
  for (const TokenId id : request.prompt) {
    if (id > kEndId) return Error{"The prompt has an id outside the vocabulary.", ErrorKind::kInvalid, "prompt"};
  }
  accepted_.push_back(request);
  std::vector<TokenId> tokens = answer(request);
  const auto& stop_ids = request.sampling.stop_ids;
  if (ends && std::find(stop_ids.begin(), stop_ids.end(), kEndId) != stop_ids.end()) tokens.push_back(kEndId);
  const RequestId id = next_id_++;
  tasks_.emplace(id, Task{std::move(request), std::move(sink), std::move(tokens)});
  return id;
}

void FakeEngine::Cancel(RequestId id) {
  const std::lock_guard lock(mutex_);
  if (tasks_.contains(id)) to_cancel_.insert(id);
}

void FakeEngine::Drain() {
  const std::lock_guard lock(mutex_);
  draining_ = true;
}

EngineStats FakeEngine::stats() const {
  const std::lock_guard lock(mutex_);
  EngineStats stats;
  stats.running = static_cast<int>(tasks_.size());
  stats.blocks_total = 64;
  stats.blocks_free = 64 - stats.running;
  return stats;
}

std::vector<Request> FakeEngine::requests() const {
  const std::lock_guard lock(mutex_);
  return accepted_;
}

int FakeEngine::running() const {
  const std::lock_guard lock(mutex_);
  return static_cast<int>(tasks_.size());
}

void FakeEngine::Loop() {
  while (!stop_) {
    std::this_thread::sleep_for(step.load());
    const std::lock_guard lock(mutex_);
    for (const RequestId id : to_cancel_) {
      const auto found = tasks_.find(id);
      if (found == tasks_.end()) continue;
      TokenEvent event;
      event.request = id;
      event.finish = FinishReason::kCancelled;
      found->second.sink->OnToken(event);
      tasks_.erase(found);
      ++cancelled_;
    }
    to_cancel_.clear();
    if (hold_) continue;
    for (auto it = tasks_.begin(); it != tasks_.end();) {
      it = Step(it->first, it->second) ? tasks_.erase(it) : std::next(it);
    }
  }
}

bool FakeEngine::Step(RequestId id, Task& task) {
  const SamplingParams& sampling = task.request.sampling;
  TokenEvent event;
  event.request = id;
  event.prompt_tokens = static_cast<int>(task.request.prompt.size());
  event.cached_tokens = cached_tokens;
  if (static_cast<int>(task.next) == fail_after) {
    event.finish = FinishReason::kError;
    event.error = "The engine broke.";
  } else {
    event.has_token = true;
    event.token = task.next < task.tokens.size() ? task.tokens[task.next] : 'x';
    ++task.next;
    event.generated_tokens = static_cast<int>(task.next);
    if (sampling.top_logprobs >= 0) {
      event.logprob = -0.5f;
      for (int k = 0; k < sampling.top_logprobs; ++k) {
        event.top_logprobs.push_back({event.token + k, -0.5f - static_cast<float>(k)});
      }
    }
    const auto& stop_ids = sampling.stop_ids;
    if (std::find(stop_ids.begin(), stop_ids.end(), event.token) != stop_ids.end()) {
      event.finish = FinishReason::kStop;
    } else if (static_cast<int>(task.next) >= sampling.max_tokens) {
      event.finish = FinishReason::kLength;
    }
  }
  task.sink->OnToken(event);
  return event.finish != FinishReason::kNone;
}

}  // namespace gannet::server_testing
