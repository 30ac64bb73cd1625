#include "engine/scheduler.h"

#include <algorithm>
#include <span>

namespace gannet {
namespace {

bool RunsBefore(const Task& a, const Task& b) {
  if (a.request.priority != b.request.priority) return a.request.priority > b.request.priority;
  return a.id < b.id;
}

bool Generates(const Task& task) { return task.computed + 1 == static_cast<int64_t>(task.tokens.size()); }

// How many of a task's next rows fit a budget without parting rows that see each other; 0: it waits for a larger one.
int64_t RowsWithin(const Task& task, int64_t budget) {
  const int64_t size = static_cast<int64_t>(task.tokens.size());
  const int64_t end = task.mask.Cut(task.computed, std::min(task.computed + budget, size));
  return end - task.computed <= budget ? end - task.computed : 0;
}

ScheduledRows RowsOf(Task& task, int64_t count) {
  return {&task, task.computed, count, task.computed + count == static_cast<int64_t>(task.tokens.size())};
}

}  // namespace

void Scheduler::InsertInOrder(Tasks& tasks, std::unique_ptr<Task> task) {
  const auto place = std::upper_bound(tasks.begin(), tasks.end(), task,
                                      [](const auto& a, const auto& b) { return RunsBefore(*a, *b); });
  tasks.insert(place, std::move(task));
}

void Scheduler::Add(std::unique_ptr<Task> task) { InsertInOrder(waiting_, std::move(task)); }

std::unique_ptr<Task> Scheduler::Remove(RequestId id) {
  for (Tasks* tasks : {&running_, &waiting_}) {
    const auto it = std::ranges::find_if(*tasks, [&](const auto& task) { return task->id == id; });
    if (it == tasks->end()) continue;
    std::unique_ptr<Task> task = std::move(*it);
    tasks->erase(it);
    if (task->sequence) cache_.Close(std::move(task->sequence));
    return task;
  }
  return nullptr;
}

std::vector<RequestId> Scheduler::Ids() const {
  std::vector<RequestId> ids;
  for (const Tasks* tasks : {&running_, &waiting_}) {
    for (const auto& task : *tasks) ids.push_back(task->id);
  }
  return ids;
}

void Scheduler::PreemptLast() {
  std::unique_ptr<Task> task = std::move(running_.back());
  running_.pop_back();
  cache_.Close(std::move(task->sequence));
  task->computed = 0;
  ++preemptions_;
  InsertInOrder(waiting_, std::move(task));
}

// A running task whose next rows belong together and are more than the tasks that generate leave of a step.
Task* Scheduler::SpanWithoutRoom() {
  const int64_t generating = std::ranges::count_if(running_, [](const auto& task) { return Generates(*task); });
  for (const auto& task : running_) {
    const int64_t together = task->mask.Cut(task->computed, task->computed + 1) - task->computed;
    if (together > 1 && together > options_.step_rows - generating) return task.get();
  }
  return nullptr;
}

// Makes room by preempting those after `task`; false when `task` itself was the last and had to go.
bool Scheduler::AppendOrPreempt(Task& task, int64_t count) {
  const std::span<const TokenId> tokens(task.tokens.data() + task.computed, static_cast<size_t>(count));
  while (!cache_.Append(*task.sequence, tokens)) {
    const bool itself = running_.back().get() == &task;
    PreemptLast();
    if (itself) return false;
  }
  return true;
}

// The next rows of a running task's prompt; false: no room in the cache.
bool Scheduler::ScheduleChunk(Task& task, int64_t count, int64_t& budget, std::vector<ScheduledRows>& step) {
  const std::span<const TokenId> tokens(task.tokens.data() + task.computed, static_cast<size_t>(count));
  if (!cache_.Append(*task.sequence, tokens)) {
    if (!step.empty()) return false;  // the others will finish and make room
    if (!AppendOrPreempt(task, count)) return false;
  }
  step.push_back(RowsOf(task, count));
  budget -= count;
  return true;
}

std::vector<ScheduledRows> Scheduler::Schedule() {
  std::vector<ScheduledRows> step;
  int64_t budget = options_.step_rows;
  Task* early = nullptr;
  if (!span_was_early_) early = SpanWithoutRoom();
  span_was_early_ = early != nullptr;
  if (early) ScheduleChunk(*early, RowsWithin(*early, budget), budget, step);
  const bool may_preempt = step.empty();
  // running_ is in order and only its tail is preempted, so rows already scheduled stay valid.
  for (size_t i = 0; i < running_.size() && budget > 0; ++i) {
    Task& task = *running_[i];
    if (!Generates(task) || &task == early) continue;
    if (!(may_preempt ? AppendOrPreempt(task, 1) : cache_.Append(*task.sequence, {&task.tokens.back(), 1}))) break;
    step.push_back(RowsOf(task, 1));
    --budget;
  }
  for (size_t i = 0; i < running_.size() && budget > 0; ++i) {
    Task& task = *running_[i];
    if (Generates(task) || &task == early) continue;
    const int64_t count = RowsWithin(task, budget);
    if (count > 0 && !ScheduleChunk(task, count, budget, step)) break;
  }
  Admit(budget, step);
  return step;
}

void Scheduler::Admit(int64_t& budget, std::vector<ScheduledRows>& step) {
  while (budget > 0 && !waiting_.empty() && running() < options_.max_running) {
    Task& task = *waiting_.front();
    const int64_t shared = task.mask.causal_rows();
    if (!cache_.CanAdmit(task.tokens, shared)) break;
    task.sequence = cache_.Open(task.tokens, shared);
    task.computed = task.sequence->length();
    const int64_t count = RowsWithin(task, budget);
    if (count == 0) {  // a span that this step has no room for: it runs, and another step will have
      InsertInOrder(running_, std::move(waiting_.front()));
      waiting_.erase(waiting_.begin());
      break;
    }
    if (!task.admitted_before) {
      task.cached_tokens = static_cast<int>(task.computed);
      task.admitted_before = true;
    }
    const std::span<const TokenId> tokens(task.tokens.data() + task.computed, static_cast<size_t>(count));
    if (!cache_.Append(*task.sequence, tokens)) {
      cache_.Close(std::move(task.sequence));
      task.computed = 0;
      break;
    }
    InsertInOrder(running_, std::move(waiting_.front()));
    waiting_.erase(waiting_.begin());
    step.push_back(RowsOf(task, count));
    budget -= count;
  }
}

}  // namespace gannet
