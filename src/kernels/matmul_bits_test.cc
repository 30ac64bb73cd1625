// Promise 1 of matrix products: a row's bits do not depend on what is around it.
#include <gtest/gtest.h>

#include "kernels/test_support.h"

namespace gannet {
namespace {

using namespace testing_support;

// Promise 1: a row's bits whatever rows, threads and positions are around it.
TEST(Matmul, RowsDoNotDependOnTheBatch) {
  ThreadPool one(1);
  ThreadPool two(2);
  constexpr int64_t kRows = 33;
  for (const Kernels* kernels : AvailableKernels()) {
    for (const Storage storage : kStorages) {
      for (const int64_t k : {int64_t{32}, int64_t{576}}) {
        const int64_t n = 53;
        const TestWeight w = RandomWeight(storage, n, k, 11);
        const std::vector<float> x = RandomFloats(kRows * k, 12);
        std::vector<float> alone;
        for (int64_t row = 0; row < kRows; ++row) {
          const std::vector<float> one_row(x.begin() + row * k, x.begin() + (row + 1) * k);
          const std::vector<float> out = Multiply(*kernels, w.weight, one_row, 1, one);
          alone.insert(alone.end(), out.begin(), out.end());
        }
        for (int64_t m = 1; m <= kRows; ++m) {
          const int64_t first = (kRows - m) / 2;  // another place in the tile each time
          const std::vector<float> rows(x.begin() + first * k, x.begin() + (first + m) * k);
          const std::vector<float> want(alone.begin() + first * n, alone.begin() + (first + m) * n);
          ASSERT_TRUE(SameBits(Multiply(*kernels, w.weight, rows, m, m % 2 ? two : one), want))
              << kernels->name << ' ' << NameOf(storage) << " k " << k << " m " << m;
        }
      }
    }
  }
}

// Several rows walk a long K in stretches, a single one does not.
TEST(Matmul, StretchesOfKDoNotMatter) {
  ThreadPool pool(2);
  constexpr int64_t kLong = 2304;  // more than one stretch of every kind of tile, and no multiple of one
  constexpr int64_t kRows = 37;
  const std::vector<float> x = RandomFloats(kRows * kLong, 14);
  for (const Kernels* kernels : FastTables()) {
    for (const Storage storage : kStorages) {
      for (const int64_t k : {kLong - 32, kLong}) {  // an odd number of blocks, which the pairs of 4-bit floats meet
        if (k % InfoOf(storage).block_values != 0) continue;
        const int64_t n = 35;
        const TestWeight w = RandomWeight(storage, n, k, 13);
        std::vector<float> alone;
        for (int64_t row = 0; row < kRows; ++row) {
          const std::vector<float> one_row(x.begin() + row * k, x.begin() + (row + 1) * k);
          const std::vector<float> out = Multiply(*kernels, w.weight, one_row, 1, pool);
          alone.insert(alone.end(), out.begin(), out.end());
        }
        for (const int64_t m : {int64_t{2}, int64_t{5}, int64_t{9}, kRows}) {
          const std::vector<float> rows(x.begin(), x.begin() + m * k);
          const std::vector<float> want(alone.begin(), alone.begin() + m * n);
          ASSERT_TRUE(SameBits(Multiply(*kernels, w.weight, rows, m, pool), want))
              << kernels->name << ' ' << NameOf(storage) << " k " << k << " m " << m;
        }
      }
    }
  }
}

// Enough rows and columns for many tasks in both directions.
TEST(Matmul, ThreadsDoNotMatter) {
  ThreadPool one(1);
  ThreadPool three(3, false);
  for (const Kernels* kernels : FastTables()) {
    for (const Storage storage : {Storage::kQ4_1, Storage::kBF16}) {
      const TestWeight w = RandomWeight(storage, 400, 4096, 21);
      const std::vector<float> x = RandomFloats(50 * 4096, 22);
      ASSERT_TRUE(SameBits(Multiply(*kernels, w.weight, x, 50, one), Multiply(*kernels, w.weight, x, 50, three)));
    }
  }
}

TEST(Matmul, FastTablesAgreeToTheBit) {
  ThreadPool pool(2);
  for (const Storage storage : kStorages) {
    const TestWeight w = RandomWeight(storage, 67, 1536, 31);
    const std::vector<float> x = RandomFloats(11 * 1536, 32, 3.0f);
    std::vector<float> want;
    for (const Kernels* kernels : FastTables()) {
      if (kernels->pack(w.weight)->operands() == Operands::kBf16)
        continue;  // an order of their own: amx_matmul_test.cc
      if (want.empty()) want = Multiply(*kernels, w.weight, x, 11, pool);
      EXPECT_TRUE(SameBits(Multiply(*kernels, w.weight, x, 11, pool), want)) << kernels->name << ' ' << NameOf(storage);
    }
  }
}

}  // namespace
}  // namespace gannet
