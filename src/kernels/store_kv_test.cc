#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>

#include "kernels/test_support.h"

namespace gannet {
namespace {

using namespace testing_support;

constexpr int64_t kBlocks = 4;

// The cache after storing random rows in `slots`; what was not stored keeps all bits set.
std::vector<std::byte> Stored(const Kernels& kernels, const KvLayout& layout, const std::vector<int64_t>& slots) {
  ThreadPool pool(2);
  const int64_t rows = static_cast<int64_t>(slots.size());
  const int64_t key_stride = layout.kv_heads * layout.key_dim + 3;
  const int64_t value_stride = layout.kv_heads * layout.value_dim + 5;
  const std::vector<float> keys = RandomFloats(rows * key_stride, 1, 3.0f);
  const std::vector<float> values = RandomFloats(rows * value_stride, 2, 3.0f);
  std::vector<std::byte> memory(static_cast<size_t>(kBlocks * layout.block_bytes()) + 64, std::byte{0xff});
  KvPages pages;
  pages.layout = layout;
  pages.block_stride = layout.block_bytes();
  const size_t start = (64 - reinterpret_cast<uintptr_t>(memory.data()) % 64) % 64;
  pages.base = memory.data() + start;
  kernels.store_kv({keys.data(), key_stride, layout.latent ? nullptr : values.data(), value_stride, slots, pages},
                   pool);
  return {memory.begin() + static_cast<std::ptrdiff_t>(start),
          memory.begin() + static_cast<std::ptrdiff_t>(start) + kBlocks * pages.block_stride};
}

std::vector<std::vector<int64_t>> SlotOrders() {
  std::vector<int64_t> all(kBlocks * kBlockTokens);
  std::iota(all.begin(), all.end(), 0);
  const std::vector<int64_t> middle(all.begin() + 5, all.begin() + 171);  // begins and ends inside of a sixteen
  const std::vector<int64_t> down(all.rbegin(), all.rend());
  std::vector<int64_t> shuffled = all;
  std::shuffle(shuffled.begin(), shuffled.end(), std::mt19937(3));
  std::vector<int64_t> swapped = all;
  std::swap(swapped[17], swapped[30]);  // a sixteen whose first and last are in their places
  std::vector<int64_t> gap(all.begin() + 16, all.begin() + 80);
  gap.erase(gap.begin() + 9);
  return {all, middle, down, shuffled, swapped, gap, {63}, {}};
}

TEST(StoreKv, EveryTableStoresTheBytesOfTheReference) {
  for (const KvType type : {KvType::kF32, KvType::kF16, KvType::kBF16, KvType::kFp8, KvType::kInt8}) {
    for (const KvLayout& layout : {KvLayout{2, 64, 64, type}, KvLayout{3, 10, 7, type}, KvLayout{1, 33, 17, type},
                                   KvLayout{5, 192, 256, type}, KvLayout{1, 72, 64, type, true}}) {
      for (const std::vector<int64_t>& slots : SlotOrders()) {
        const std::vector<std::byte> want = Stored(*FindKernels("reference"), layout, slots);
        for (const Kernels* kernels : FastTables()) {
          EXPECT_TRUE(Stored(*kernels, layout, slots) == want)
              << kernels->name << " " << NameOf(type) << " keys of " << layout.key_dim << ", " << slots.size();
        }
      }
    }
  }
}

}  // namespace
}  // namespace gannet
