#include "kernels/roof.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <vector>

#include "kernels/cpu/arena.h"
#include "kernels/cpu/tables.h"
#include "kernels/cpu/targets.h"

namespace gannet {
namespace {

constexpr int64_t kLeastReadBytes = int64_t{256} << 20;
constexpr int64_t kMostReadBytes = int64_t{1} << 30;
constexpr int64_t kReadChunk = int64_t{1} << 20;
constexpr int kRepeats = 12;
constexpr int64_t kRounds = 200'000;

// The best of some runs, in seconds.
template <typename F>
double BestSeconds(const F& run) {
  double best = 1e30;
  for (int i = 0; i < kRepeats; ++i) {
    const auto start = std::chrono::steady_clock::now();
    run();
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return best;
}

// Twice what the last cache holds, which a server shares out among its guests.
int64_t BytesToRead() {
  const int64_t cache = sysconf(_SC_LEVEL3_CACHE_SIZE);  // zero or less where it is not known
  return std::clamp((2 * cache + kReadChunk - 1) / kReadChunk * kReadChunk, kLeastReadBytes, kMostReadBytes);
}

}  // namespace

MachineRoof MeasureRoof(ThreadPool& pool, const Kernels& kernels) {
  const RoofLoops* loops = RoofLoopsOf(kernels.name);
  if (!loops) return {};
  const int64_t bytes = BytesToRead();
  const int64_t chunks = bytes / kReadChunk;
  const std::shared_ptr<std::byte> memory = AllocatePacked(bytes);
  pool.ParallelFor(chunks, [&](int64_t i, int) { std::memset(memory.get() + i * kReadChunk, 1, kReadChunk); });

  std::atomic<uint64_t> sink{0};
  const auto per_thread = [&](auto work) {
    return BestSeconds(
        [&] { pool.ParallelFor(pool.size(), [&](int64_t, int) { sink += static_cast<uint64_t>(work()); }); });
  };
  MachineRoof roof;
  roof.read_gb_s = static_cast<double>(bytes) / 1e9 / BestSeconds([&] {
                     // As weights are read: contiguous runs.
                     const int64_t parts = pool.size() * int64_t{4};
                     pool.ParallelFor(parts, [&](int64_t i, int) {
                       const int64_t first = i * chunks / parts;
                       const int64_t last = (i + 1) * chunks / parts;
                       sink += loops->read(memory.get() + first * kReadChunk, (last - first) * kReadChunk);
                     });
                   });
  const double threads = pool.size();
  const double dots = per_thread([&] { return loops->int8_dots(kRounds); });
  roof.int8_gops = threads * static_cast<double>(kRounds * loops->int8_operations_per_round) / 1e9 / dots;
  if (loops->bf16_dots) {
    const double bf16 = per_thread([&] { return loops->bf16_dots(kRounds); });
    roof.bf16_gflops = threads * static_cast<double>(kRounds * loops->bf16_operations_per_round) / 1e9 / bf16;
  }
  const double fmas = per_thread([&] { return loops->fmas(kRounds) > 0; });
  roof.fp32_gflops = threads * static_cast<double>(kRounds * loops->fma_operations_per_round) / 1e9 / fmas;
  return roof;
}

double SecondsToRead(ThreadPool& pool, const Kernels& kernels, std::span<const std::span<const std::byte>> parts) {
  const RoofLoops* loops = RoofLoopsOf(kernels.name);
  if (!loops) return 0;
  std::vector<std::span<const std::byte>> pieces;
  for (std::span<const std::byte> part : parts) {
    for (; part.size() > kReadChunk; part = part.subspan(kReadChunk)) pieces.push_back(part.first(kReadChunk));
    pieces.push_back(part.first(part.size() / 1024 * 1024));  // what the loop takes
  }
  std::atomic<uint64_t> sink{0};
  pool.ParallelFor(pool.size(), [](int64_t, int) {});  // wakes them
  const auto start = std::chrono::steady_clock::now();
  pool.ParallelFor(static_cast<int64_t>(pieces.size()), [&](int64_t i, int) {
    const std::span<const std::byte> piece = pieces[static_cast<size_t>(i)];
    sink += loops->read(piece.data(), static_cast<int64_t>(piece.size()));
  });
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace gannet
