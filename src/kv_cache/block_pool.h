// The blocks of one cache group: memory for every layer of the group, reference counts, a free list.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kv_cache/kv_plan.h"

namespace gannet {

class BlockPool {
 public:
  // Reserves address space for `blocks` blocks; pages are touched when first written. Throws LoadError("kv_cache", ...)
  // when the system refuses.
  BlockPool(const KvGroup& group, int32_t blocks);
  ~BlockPool();
  BlockPool(BlockPool&& other) noexcept;
  BlockPool(const BlockPool&) = delete;

  int32_t total() const { return static_cast<int32_t>(references_.size()); }
  int32_t free() const { return static_cast<int32_t>(free_.size()); }
  int references(int32_t block) const { return references_[static_cast<size_t>(block)]; }

  // A block with one reference, or -1 when none is free.
  int32_t Take();
  void AddReference(int32_t block) { ++references_[static_cast<size_t>(block)]; }
  // The remaining references; at 0 the block is free.
  int DropReference(int32_t block);

  // The memory of the group's i-th layer.
  KvPages Pages(size_t layer_in_group) const;

 private:
  KvLayout layout_;
  int64_t layer_bytes_ = 0;
  size_t bytes_ = 0;
  std::byte* memory_ = nullptr;
  std::vector<int> references_;
  std::vector<int32_t> free_;
};

}  // namespace gannet
