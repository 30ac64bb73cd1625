// The threads that do a step's arithmetic: pinned to cores, spinning for a moment between the operations of a step,
// asleep when idle.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <thread>
#include <type_traits>
#include <vector>

namespace gannet {

// A reference to a callable; does not own it.
template <typename Signature>
class FunctionRef;
template <typename R, typename... Args>
class FunctionRef<R(Args...)> {
 public:
  template <typename F>
  requires(!std::is_same_v<std::remove_cvref_t<F>, FunctionRef>) FunctionRef(F&& f)
      : object_(const_cast<void*>(static_cast<const void*>(&f))), call_([](void* object, Args... args) -> R {
          return (*static_cast<std::remove_reference_t<F>*>(object))(std::forward<Args>(args)...);
        }) {}
  R operator()(Args... args) const { return call_(object_, std::forward<Args>(args)...); }

 private:
  void* object_;
  R (*call_)(void*, Args...);
};

class ThreadPool {
 public:
  // `threads` >= 1 counts the calling thread, which is worker 0. Workers are bound to distinct cores with hwloc when
  // `pin` is set and the machine has that many; the caller's binding is left alone until BindCaller.
  explicit ThreadPool(int threads, bool pin = true);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  // Binds the calling thread to the core that is left for worker 0. One that lies on the core of a worker spins there
  // while that worker should work, a tenth of a millisecond in each ParallelFor.
  void BindCaller() const;

  int size() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls task(index, worker) once for every index in [0, count), worker in [0, size()), and returns when all are
  // done. Which worker takes which index is not fixed: each begins with a run of its own and helps with the others'
  // when that is done, so that workers do not wait for the same page of memory. Tasks must not throw or call
  // ParallelFor. One caller at a time.
  void ParallelFor(int64_t count, FunctionRef<void(int64_t index, int worker)> task);

 private:
  void WorkerLoop(int worker);
  void Claim(int worker);
  int64_t RunBegin(int worker) const { return count_ * worker / size(); }

  const FunctionRef<void(int64_t, int)>* task_ = nullptr;
  int64_t count_ = 0;
  struct alignas(64) Next {
    std::atomic<int64_t> index{0};
  };
  std::vector<Next> next_;                      // of each worker's run
  alignas(64) std::atomic<uint32_t> epoch_{0};  // a new value is a new job
  alignas(64) std::atomic<int> busy_{0};        // workers that have not finished the current job
  std::atomic<int> sleepers_{0};
  std::atomic<bool> stop_{false};
  const bool pin_;
  std::vector<std::thread> workers_;
};

}  // namespace gannet
