#include "engine/scheduler.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

namespace gannet {
namespace {

KvPlan TestPlan() {
  KvPlan plan;
  plan.groups.push_back({.layout = {1, 4, 4, KvType::kF32}, .window = std::nullopt, .layers = {0}});
  return plan;
}

class SchedulerTest : public ::testing::Test {
 protected:
  void Build(int64_t cache_tokens, int64_t step_rows, int max_running) {
    cache_ = std::make_unique<KvCache>(
        TestPlan(), KvCacheOptions{.tokens = cache_tokens, .running = max_running, .prefix_cache = false});
    scheduler_ = std::make_unique<Scheduler>(*cache_, SchedulerOptions{step_rows, max_running});
  }
  void Add(RequestId id, int prompt, int max_tokens, int priority = 0) {
    auto task = std::make_unique<Task>();
    task->id = id;
    task->request.prompt.assign(static_cast<size_t>(prompt), static_cast<TokenId>(id));
    task->request.sampling.max_tokens = max_tokens;
    task->request.priority = priority;
    task->tokens = task->request.prompt;
    scheduler_->Add(std::move(task));
  }
  // Does what the engine does with a step, a model that always says 0; returns id -> rows.
  std::map<RequestId, int64_t> Step() {
    std::map<RequestId, int64_t> rows;
    int64_t total = 0;
    std::set<RequestId> finished;
    for (const ScheduledRows& scheduled : scheduler_->Schedule()) {
      Task& task = *scheduled.task;
      EXPECT_FALSE(rows.contains(task.id)) << "a task is scheduled once a step";
      rows[task.id] = scheduled.count;
      total += scheduled.count;
      EXPECT_EQ(scheduled.first, task.computed);
      EXPECT_EQ(task.sequence->length(), scheduled.first + scheduled.count);
      EXPECT_EQ(scheduled.sample, scheduled.first + scheduled.count == static_cast<int64_t>(task.tokens.size()));
      task.computed += scheduled.count;
      cache_->Commit(*task.sequence, task.computed);
      if (!scheduled.sample) continue;
      task.tokens.push_back(0);
      if (task.generated() >= task.request.sampling.max_tokens) finished.insert(task.id);
    }
    for (const RequestId id : finished) {
      scheduler_->Remove(id);
      finished_.push_back(id);
    }
    EXPECT_LE(total, step_rows_);
    return rows;
  }
  void RunToEnd(int most_steps) {
    for (int step = 0; step < most_steps && scheduler_->running() + scheduler_->waiting() > 0; ++step) {
      EXPECT_FALSE(Step().empty()) << "something can always run";
    }
    EXPECT_EQ(scheduler_->running() + scheduler_->waiting(), 0);
    EXPECT_EQ(cache_->blocks_free(), cache_->blocks_total());
  }

  std::unique_ptr<KvCache> cache_;
  std::unique_ptr<Scheduler> scheduler_;
  std::vector<RequestId> finished_;
  int64_t step_rows_ = INT64_MAX;
};

TEST_F(SchedulerTest, ALongPromptNeverStopsTheOthers) {
  Build(64 * 100, 32, 8);
  step_rows_ = 32;
  Add(1, 4, 100);
  Step();
  Add(2, 1000, 4);
  for (int step = 0; step < 30; ++step) {
    const auto rows = Step();
    EXPECT_EQ(rows.at(1), 1) << "a token each step";
    EXPECT_EQ(rows.at(2), 31) << "and the prompt gets what is left";
  }
  RunToEnd(200);
}

TEST_F(SchedulerTest, PromptsAreServedOldestFirstWithinAPriority) {
  Build(64 * 100, 64, 8);
  Add(1, 100, 1);
  Add(2, 100, 1);
  Add(3, 100, 1, /*priority=*/5);
  EXPECT_EQ(Step(), (std::map<RequestId, int64_t>{{3, 64}}));
  EXPECT_EQ(Step(), (std::map<RequestId, int64_t>{{3, 36}, {1, 28}}));
  RunToEnd(20);
  EXPECT_EQ(finished_, (std::vector<RequestId>{3, 1, 2}));
}

TEST_F(SchedulerTest, AFullCachePreemptsTheYoungestAndFinishesAll) {
  Build(64 * 6, 64, 8);
  for (RequestId id = 1; id <= 5; ++id) Add(id, 30, 200);
  RunToEnd(5000);
  EXPECT_GT(scheduler_->preemptions(), 0);
  EXPECT_EQ(finished_.size(), 5u);
  EXPECT_EQ(finished_.front(), 1u) << "the oldest is never preempted";
}

TEST_F(SchedulerTest, RunningIsBounded) {
  Build(64 * 100, 512, 3);
  for (RequestId id = 1; id <= 10; ++id) Add(id, 10, 5);
  Step();
  EXPECT_EQ(scheduler_->running(), 3);
  EXPECT_EQ(scheduler_->waiting(), 7);
  RunToEnd(100);
}

TEST_F(SchedulerTest, RemoveWorksInEveryState) {
  Build(64 * 100, 16, 2);
  Add(1, 40, 5);
  Add(2, 10, 5);
  Add(3, 10, 5);
  Step();  // 1 is in the middle of its prompt, the others wait
  EXPECT_NE(scheduler_->Remove(1), nullptr);
  EXPECT_NE(scheduler_->Remove(3), nullptr);
  EXPECT_EQ(scheduler_->Remove(3), nullptr);
  EXPECT_EQ(scheduler_->Remove(99), nullptr);
  RunToEnd(20);
  EXPECT_EQ(finished_, (std::vector<RequestId>{2}));
}

}  // namespace
}  // namespace gannet
