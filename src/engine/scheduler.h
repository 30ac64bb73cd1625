// Who computes what in a step. Speaks in tokens; the cache knows about blocks.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "engine/request.h"
#include "engine/sampler.h"
#include "kv_cache/kv_cache.h"

namespace gannet {

// A request inside the engine.
struct Task {
  RequestId id = 0;
  Request request;
  std::shared_ptr<TokenSink> sink;
  std::vector<TokenId> tokens;  // prompt, then generated
  AttentionMask mask;           // of the request's bidirectional spans
  int64_t computed = 0;         // tokens whose keys and values are in the cache
  int cached_tokens = 0;        // prompt tokens found in the cache when it was first admitted
  bool admitted_before = false;
  std::unique_ptr<KvSequence> sequence;  // while running
  TokenHistory history;

  int64_t prompt_tokens() const { return static_cast<int64_t>(request.prompt.size()); }
  int generated() const { return static_cast<int>(tokens.size() - request.prompt.size()); }
};

// Rows [first, first + count) of a task; with the task's last token among them, a token is sampled.
struct ScheduledRows {
  Task* task = nullptr;
  int64_t first = 0;
  int64_t count = 0;
  bool sample = false;
};

struct SchedulerOptions {
  int64_t step_rows = 512;
  int max_running = 64;
};

class Scheduler {
 public:
  Scheduler(KvCache& cache, const SchedulerOptions& options) : cache_(cache), options_(options) {}

  void Add(std::unique_ptr<Task> task);
  // The rows of the next step, their places in the cache taken: one row for each task that generates, then prompt
  // chunks, oldest first within a priority, then newly admitted ones. Rows that see each other are never parted: when
  // the generating tasks leave too little of a step for them, they go first, but never in two steps running. When the
  // cache is full the youngest of the lowest priority is preempted: it waits again at its old place and is recomputed.
  // Empty only when nothing can run.
  std::vector<ScheduledRows> Schedule();
  // Takes the task out, wherever it is, and frees its cache; null if unknown.
  std::unique_ptr<Task> Remove(RequestId id);

  int running() const { return static_cast<int>(running_.size()); }
  int waiting() const { return static_cast<int>(waiting_.size()); }
  int64_t preemptions() const { return preemptions_; }
  std::vector<RequestId> Ids() const;

 private:
  using Tasks = std::vector<std::unique_ptr<Task>>;  // in order of (priority, id)

  bool AppendOrPreempt(Task& task, int64_t count);
  bool ScheduleChunk(Task& task, int64_t count, int64_t& budget, std::vector<ScheduledRows>& step);
  Task* SpanWithoutRoom();
  void PreemptLast();
  void Admit(int64_t& budget, std::vector<ScheduledRows>& step);
  static void InsertInOrder(Tasks& tasks, std::unique_ptr<Task> task);

  KvCache& cache_;
  SchedulerOptions options_;
  Tasks running_;
  Tasks waiting_;
  int64_t preemptions_ = 0;
  bool span_was_early_ = false;  // in the last step
};

}  // namespace gannet
