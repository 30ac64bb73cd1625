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

std::vector<ScheduledRows> Scheduler::Schedule() {
  std::vector<ScheduledRows> step;
  int64_t budget = options_.step_rows;
  // running_ is in order and only its tail is preempted, so rows already scheduled stay valid.
  for (size_t i = 0; i < running_.size() && budget > 0; ++i) {
    Task& task = *running_[i];
    if (!Generates(task)) continue;
    if (!AppendOrPreempt(task, 1)) break;
    step.push_back(RowsOf(task, 1));
    --budget;
  }
  for (size_t i = 0; i < running_.size() && budget > 0; ++i) {
    Task& task = *running_[i];
    if (Generates(task)) continue;
    const int64_t count = std::min(budget, static_cast<int64_t>(task.tokens.size()) - task.computed);
    const std::span<const TokenId> tokens(task.tokens.data() + task.computed, static_cast<size_t>(count));
    if (!cache_.Append(*task.sequence, tokens)) {
      if (!step.empty()) break;  // the others will finish and make room
      if (!AppendOrPreempt(task, count)) break;
    }
    step.push_back(RowsOf(task, count));
    budget -= count;
  }
  Admit(budget, step);
  return step;
}

void Scheduler::Admit(int64_t& budget, std::vector<ScheduledRows>& step) {
  while (budget > 0 && !waiting_.empty() && running() < options_.max_running) {
    Task& task = *waiting_.front();
    if (!cache_.CanAdmit(task.tokens)) break;
    task.sequence = cache_.Open(task.tokens);
    task.computed = task.sequence->length();
    if (!task.admitted_before) {
      task.cached_tokens = static_cast<int>(task.computed);
      task.admitted_before = true;
    }
    const int64_t count = std::min(budget, static_cast<int64_t>(task.tokens.size()) - task.computed);
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
