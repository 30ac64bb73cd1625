#include "base/thread_pool.h"

#include "base/cpu_topology.h"
#include "base/result.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace gannet {
namespace {

void Pause() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Long enough to bridge the serial pieces between two operations of one step (tens of microseconds).
constexpr int kSpins = 4000;
}  // namespace

ThreadPool::ThreadPool(int threads, bool pin) : next_(static_cast<size_t>(threads)), pin_(pin) {
  GANNET_ASSERT(threads >= 1, "a thread pool has at least one thread");
  for (int worker = 1; worker < threads; ++worker) {
    workers_.emplace_back([this, worker, threads, pin] {
      if (pin) BindThisThreadToCore(worker, threads);
      WorkerLoop(worker);
    });
  }
}

ThreadPool::~ThreadPool() {
  stop_.store(true);
  epoch_.fetch_add(1);
  epoch_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::BindCaller() const {
  if (pin_) BindThisThreadToCore(0, size());
}

void ThreadPool::Claim(int worker) {
  for (int i = 0; i < size(); ++i) {
    const int owner = (worker + i) % size();
    const int64_t end = RunBegin(owner + 1);
    std::atomic<int64_t>& next = next_[static_cast<size_t>(owner)].index;
    for (int64_t index = next.fetch_add(1, std::memory_order_relaxed); index < end;
         index = next.fetch_add(1, std::memory_order_relaxed)) {
      (*task_)(index, worker);
    }
  }
}

void ThreadPool::ParallelFor(int64_t count, FunctionRef<void(int64_t, int)> task) {
  if (count <= 0) return;
  if (count == 1 || workers_.empty()) {
    for (int64_t index = 0; index < count; ++index) task(index, 0);
    return;
  }
  task_ = &task;
  count_ = count;
  for (int worker = 0; worker < size(); ++worker) {
    next_[static_cast<size_t>(worker)].index.store(RunBegin(worker), std::memory_order_relaxed);
  }
  busy_.store(static_cast<int>(workers_.size()), std::memory_order_relaxed);
  epoch_.fetch_add(1);  // sequentially consistent with sleepers_: a worker about to sleep sees it, or is seen here
  if (sleepers_.load() > 0) epoch_.notify_all();
  Claim(0);
  for (int spins = 0; busy_.load(std::memory_order_acquire) != 0; ++spins) {
    if (spins < kSpins) {
      Pause();
    } else {
      std::this_thread::yield();  // with more threads than free cores the one waited for may need this one's
    }
  }
}

void ThreadPool::WorkerLoop(int worker) {
  uint32_t seen = 0;
  while (true) {
    int spins = 0;
    while (epoch_.load(std::memory_order_acquire) == seen) {
      if (++spins < kSpins) {
        Pause();
        continue;
      }
      sleepers_.fetch_add(1);
      epoch_.wait(seen);
      sleepers_.fetch_sub(1);
    }
    ++seen;
    if (stop_.load()) return;
    Claim(worker);
    busy_.fetch_sub(1, std::memory_order_release);
  }
}

}  // namespace gannet
