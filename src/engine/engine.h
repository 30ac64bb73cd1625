// The engine: one thread that owns model, scheduler and cache. One step: schedule, forward, sample, deliver.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "engine/request.h"

namespace gannet {

class Model;

struct EngineOptions {
  int max_batch_rows = 512;  // token budget of a step: decode rows first, then prompt chunks
  int max_running = 64;      // requests decoded together
  int max_waiting = 256;     // with max_running + max_waiting unfinished requests Submit answers kBusy
  int64_t cache_tokens = 0;  // tokens the cache holds; 0: as many as the memory limit allows
  int64_t max_context = 0;   // longest prompt + output; 0: the model's own
  bool prefix_cache = true;
  // Called once, on the engine's thread, when other ranks are lost and the model with them: every accepted request has
  // ended with kError by then, and later ones do.
  std::function<void(const std::string& reason)> failed = {};
};

struct EngineStats {
  int running = 0;
  int waiting = 0;
  int64_t blocks_total = 0;
  int64_t blocks_free = 0;  // free or held only by the prefix cache
  int64_t steps = 0;
  int64_t prompt_tokens = 0;
  int64_t cached_tokens = 0;
  int64_t generated_tokens = 0;
  int64_t preemptions = 0;
};

class Engine {
 public:
  // Starts the engine's thread, which computes with `model` and its pool, and lays its weights out while nothing is
  // asked; with all of them laid out an idle engine leaves the pool to others. `model` outlives the engine.
  Engine(Model& model, const EngineOptions& options);
  ~Engine();  // cancels what is left and joins
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // Thread-safe; never blocks on a step. Errors: kInvalid (empty prompt, a token id outside the vocabulary, prompt
  // longer than the context, a parameter out of range), kBusy (queue full), kUnavailable (draining). On success every
  // event goes to `sink`, which the engine keeps until the last one.
  Result<RequestId> Submit(Request request, std::shared_ptr<TokenSink> sink);
  // Thread-safe. Takes effect before the next step; the sink gets kCancelled. Unknown or finished ids are ignored.
  void Cancel(RequestId id);
  // Thread-safe. From now on Submit answers kUnavailable; accepted requests finish.
  void Drain();
  // Blocks until nothing is running or waiting.
  void WaitIdle();
  EngineStats stats() const;    // thread-safe, as of the end of the last step
  int64_t max_context() const;  // tokens

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace gannet
