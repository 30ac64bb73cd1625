#include "kernels/cpu/arena.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <mutex>

#include "base/cpu_topology.h"
#include "base/result.h"

namespace gannet {
namespace {

constexpr int64_t kHugePage = int64_t{2} << 20;
constexpr int64_t kChunk = 8 * kHugePage;

struct Mapping {
  void* start = nullptr;
  size_t size = 0;
  ~Mapping() {
    if (start) munmap(start, size);
  }
};

// A chunk, aligned to a huge page.
std::shared_ptr<std::byte> MapChunk(int64_t bytes) {
  auto mapping = std::make_shared<Mapping>();
  const size_t size = static_cast<size_t>(bytes + kHugePage);
  void* start = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (start == MAP_FAILED) {
    throw LoadError("kernels",
                    fmt::format("no memory for {} MiB of weights; free some or choose a smaller model", bytes >> 20));
  }
  mapping->start = start;
  mapping->size = size;
  const uintptr_t first = (reinterpret_cast<uintptr_t>(start) + kHugePage - 1) / kHugePage * kHugePage;
  std::byte* aligned = reinterpret_cast<std::byte*>(first);
  madvise(aligned, static_cast<size_t>(bytes), MADV_HUGEPAGE);  // advice only: small pages do as well, slower
  SpreadOverNodes(aligned, bytes);
  return {mapping, aligned};
}

}  // namespace

std::shared_ptr<std::byte> AllocatePacked(int64_t bytes) {
  static std::mutex mutex;
  static std::weak_ptr<std::byte> current;
  static int64_t used = 0;
  const int64_t wanted = (bytes + 63) / 64 * 64 + 64;
  if (wanted > kChunk / 2) return MapChunk((wanted + kHugePage - 1) / kHugePage * kHugePage);
  const std::lock_guard lock(mutex);
  std::shared_ptr<std::byte> chunk = current.lock();
  if (!chunk || used + wanted > kChunk) {
    chunk = MapChunk(kChunk);
    current = chunk;
    used = 0;
  }
  std::byte* start = chunk.get() + used;
  used += wanted;
  return {std::move(chunk), start};
}

}  // namespace gannet
