#include "base/thread_pool.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <ctime>
#include <numeric>
#include <thread>
#include <vector>

namespace gannet {
namespace {

TEST(ThreadPool, RunsEveryIndexOnce) {
  for (const int threads : {1, 2, 5}) {
    ThreadPool pool(threads);
    ASSERT_EQ(pool.size(), threads);
    for (const int64_t count : {0, 1, 2, 3, 100, 1000}) {
      std::vector<int> seen(static_cast<size_t>(count), 0);
      pool.ParallelFor(count, [&](int64_t i, int worker) {
        ASSERT_GE(worker, 0);
        ASSERT_LT(worker, threads);
        ++seen[static_cast<size_t>(i)];
      });
      EXPECT_EQ(std::accumulate(seen.begin(), seen.end(), int64_t{0}), count);
      EXPECT_EQ(std::count(seen.begin(), seen.end(), 1), count);
    }
  }
}

TEST(ThreadPool, WorkersBeginWithRunsOfTheirOwn) {
  ThreadPool pool(2);
  std::array<int64_t, 2> first = {-1, -1};
  std::atomic<int> begun{0};
  std::atomic<int64_t> sum{0};
  pool.ParallelFor(101, [&](int64_t i, int worker) {
    sum += i;
    if (first[static_cast<size_t>(worker)] >= 0) return;
    first[static_cast<size_t>(worker)] = i;
    ++begun;
    while (begun < 2) std::this_thread::yield();
  });
  EXPECT_EQ(first, (std::array<int64_t, 2>{0, 50}));
  EXPECT_EQ(sum, 5050);  // and do the others'
}

TEST(ThreadPool, ManyShortJobsSeeEachOthersWrites) {
  ThreadPool pool(3);
  std::vector<int64_t> values(64, 0);
  for (int job = 0; job < 3000; ++job) {
    pool.ParallelFor(64, [&](int64_t i, int) { values[static_cast<size_t>(i)] += 1; });
  }
  for (const int64_t value : values) EXPECT_EQ(value, 3000);
}

TEST(ThreadPool, SleepsWhenIdle) {
  ThreadPool pool(4);
  pool.ParallelFor(8, [](int64_t, int) {});
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  const std::clock_t before = std::clock();  // CPU time of the whole process
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  const double used = static_cast<double>(std::clock() - before) / CLOCKS_PER_SEC;
  EXPECT_LT(used, 0.1) << "three workers that spin would use 0.6 s";
  int64_t sum = 0;
  pool.ParallelFor(1, [&](int64_t, int) { sum = 1; });
  std::atomic<int64_t> total{0};
  pool.ParallelFor(100, [&](int64_t i, int) { total += i; });  // and wakes up again
  EXPECT_EQ(total, 4950);
}

}  // namespace
}  // namespace gannet
