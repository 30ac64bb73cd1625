// Products with the transpose of a quantized weight (the keys of kv_b, as decode takes them).
#include <gtest/gtest.h>

#include "kernels/test_support.h"

namespace gannet {
namespace {

using namespace testing_support;

constexpr Storage kTurned[] = {Storage::kI8, Storage::kQ8_0, Storage::kQ4_0, Storage::kMxfp4, Storage::kE2M1};

// Against fp64 sums of the dequantized values: fp32 rounding of x * scale and of each step is what remains.
TEST(Transposed, EqualsPlainLoopsAndEveryTableAndAnyRows) {
  ThreadPool pool(2);
  constexpr int64_t kRows = 296, kCols = 96, kBatch = 17;  // K and row tiles in several pieces
  for (const Storage storage : kTurned) {
    const TestWeight w = RandomWeight(storage, kRows, kCols, 5);
    const std::vector<float> x = RandomFloats(kBatch * kRows, 6);
    std::vector<double> sums(kBatch * kCols), sizes(kBatch * kCols);
    std::vector<float> row(kCols);
    for (int64_t k = 0; k < kRows; ++k) {
      DequantizeRow(w.weight, k, row.data());
      for (int64_t r = 0; r < kBatch; ++r) {
        for (int64_t n = 0; n < kCols; ++n) {
          const double product =
              static_cast<double>(x[static_cast<size_t>(r * kRows + k)]) * row[static_cast<size_t>(n)];
          sums[static_cast<size_t>(r * kCols + n)] += product;
          sizes[static_cast<size_t>(r * kCols + n)] += std::fabs(product);
        }
      }
    }
    std::vector<float> first;
    for (const Kernels* kernels : FastTables()) {
      SCOPED_TRACE(std::string(InfoOf(storage).name) + " " + kernels->name);
      const auto packed = kernels->pack_transposed(w.weight);
      ASSERT_TRUE(packed);
      EXPECT_EQ(packed->rows(), kCols);
      EXPECT_EQ(packed->cols(), kRows);
      EXPECT_NE(std::string(packed->kernel()).find("transposed"), std::string::npos);
      const std::vector<float> got = Product(*kernels, *packed, x.data(), kBatch, pool);
      EXPECT_TRUE(packed->owns_memory());  // every tile was read
      for (size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], sums[i], (kRows + 4) * 0x1p-23 * sizes[i]) << i;
      for (int64_t r = 0; r < kBatch; ++r) {
        const std::vector<float> alone = Product(*kernels, *packed, x.data() + r * kRows, 1, pool);
        ASSERT_TRUE(SameBits(alone, {got.begin() + r * kCols, got.begin() + (r + 1) * kCols})) << r;
        const std::vector<float> with_those_before = Product(*kernels, *packed, x.data(), r + 1, pool);
        ASSERT_TRUE(SameBits(with_those_before, {got.begin(), got.begin() + (r + 1) * kCols})) << r;
      }
      if (first.empty()) first = got;
      EXPECT_TRUE(SameBits(first, got)) << "tables differ";
    }
  }
}

TEST(Transposed, NoKernelIsNull) {
  for (const Kernels* kernels : AvailableKernels()) {
    const bool fast = kernels != AvailableKernels().back();
    for (const Storage storage : {Storage::kBF16, Storage::kQ4_1, Storage::kQ5_0, Storage::kU4}) {
      EXPECT_FALSE(kernels->pack_transposed(RandomWeight(storage, 32, 64, 1).weight));
    }
    EXPECT_FALSE(kernels->pack_transposed(RandomWeight(Storage::kI8, 32, 40, 1).weight)) << "a block of 8 columns";
    EXPECT_EQ(kernels->pack_transposed(RandomWeight(Storage::kI8, 32, 64, 1).weight) != nullptr, fast);
  }
}

// Products that ask for the same tiles at once: each is packed by one of them.
TEST(PackedTiles, ThreadsThatNeedATileAtOnce) {
  ThreadPool pool(4);
  const TestWeight w = RandomWeight(Storage::kQ8_0, 320, 64, 3);
  const std::vector<float> x = RandomFloats(64 * 64, 4);
  for (const Kernels* kernels : FastTables()) {
    for (int round = 0; round < 20; ++round) {
      const auto packed = kernels->pack(w.weight);
      std::vector<std::vector<float>> outs(8, std::vector<float>(8 * 320));
      std::vector<MatmulTarget> targets;
      std::vector<MatmulArgs> jobs;
      for (std::vector<float>& out : outs) targets.push_back({packed.get(), out.data(), 320, nullptr, false});
      for (size_t i = 0; i < outs.size(); ++i) jobs.push_back({x.data(), 64, 8, 64, {&targets[i], 1}, {}});
      kernels->matmul(jobs, pool);
      EXPECT_TRUE(packed->owns_memory());
      for (const std::vector<float>& out : outs) ASSERT_TRUE(SameBits(out, outs[0]));
      ASSERT_TRUE(SameBits(outs[0], Product(*kernels, *packed, x.data(), 8, pool)));
    }
  }
}

}  // namespace
}  // namespace gannet
