#include "kv_cache/block_pool.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <utility>

#include "base/cpu_topology.h"
#include "base/result.h"

namespace gannet {

BlockPool::BlockPool(const KvGroup& group, int32_t blocks)
    : layout_(group.layout),
      layer_bytes_(group.layout.block_bytes() * blocks),
      references_(static_cast<size_t>(blocks), 0) {
  bytes_ = static_cast<size_t>(layer_bytes_) * group.layers.size();
  if (bytes_ > 0) {
    void* memory = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) {
      throw LoadError("kv_cache", fmt::format("the system refuses {} bytes of address space for the cache; lower "
                                              "--cache-tokens",
                                              bytes_));
    }
    memory_ = static_cast<std::byte*>(memory);
    madvise(memory_, bytes_, MADV_HUGEPAGE);
    SpreadOverNodes(memory_, static_cast<int64_t>(bytes_));
  }
  free_.reserve(references_.size());
  for (int32_t block = blocks - 1; block >= 0; --block) free_.push_back(block);
}

BlockPool::~BlockPool() {
  if (memory_) munmap(memory_, bytes_);
}

BlockPool::BlockPool(BlockPool&& other) noexcept
    : layout_(other.layout_),
      layer_bytes_(other.layer_bytes_),
      bytes_(other.bytes_),
      memory_(std::exchange(other.memory_, nullptr)),
      references_(std::move(other.references_)),
      free_(std::move(other.free_)) {}

int32_t BlockPool::Take() {
  if (free_.empty()) return -1;
  const int32_t block = free_.back();
  free_.pop_back();
  references_[static_cast<size_t>(block)] = 1;
  return block;
}

int BlockPool::DropReference(int32_t block) {
  int& count = references_[static_cast<size_t>(block)];
  GANNET_ASSERT(count > 0, "a block is released more often than it was taken");
  if (--count == 0) free_.push_back(block);
  return count;
}

KvPages BlockPool::Pages(size_t layer_in_group) const {
  return {memory_ + static_cast<int64_t>(layer_in_group) * layer_bytes_, layout_.block_bytes(), layout_};
}

}  // namespace gannet
