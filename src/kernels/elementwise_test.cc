#include <gtest/gtest.h>

#include <limits>

#include "kernels/roof.h"
#include "kernels/test_support.h"

namespace gannet {
namespace {

using namespace testing_support;

const Kernels& Reference() { return *FindKernels("reference"); }

std::vector<float> Norm(const Kernels& kernels, const std::vector<float>& x, int64_t rows, int64_t groups, int64_t dim,
                        ThreadPool& pool) {
  const std::vector<float> weight = RandomFloats(dim, 9);
  std::vector<float> out = x;
  const int64_t stride = groups * dim;
  kernels.rms_norm({out.data(), stride, out.data(), stride, rows, groups, dim, weight.data(), 1e-5f}, pool);
  return out;
}

TEST(RmsNorm, AgainstTheReferenceAndWhateverTheBatch) {
  ThreadPool one(1);
  ThreadPool two(2);
  for (const int64_t dim : {1, 10, 16, 64, 100, 576, 4099}) {
    for (const int64_t groups : {1, 3}) {
      const int64_t rows = 37;
      const int64_t width = groups * dim;
      const std::vector<float> x = RandomFloats(rows * width, 1, 5.0f);
      const std::vector<float> want = Norm(Reference(), x, rows, groups, dim, one);
      const std::vector<float> best = Norm(*FindKernels("auto"), x, rows, groups, dim, two);
      for (const Kernels* kernels : FastTables()) {
        const std::vector<float> got = Norm(*kernels, x, rows, groups, dim, one);
        EXPECT_TRUE(SameBits(got, best)) << kernels->name;  // threads, and tables among themselves
        for (size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], want[i], std::fabs(want[i]) * 0x1p-20f);
        const std::vector<float> row(x.begin() + 7 * width, x.begin() + 8 * width);
        const std::vector<float> in_batch(got.begin() + 7 * width, got.begin() + 8 * width);
        EXPECT_TRUE(SameBits(Norm(*kernels, row, 1, groups, dim, one), in_batch));
      }
    }
  }
}

TEST(Rope, BothPairingsPartialDimsAndOffsets) {
  ThreadPool pool(2);
  constexpr int64_t kRows = 40;
  constexpr int64_t kHeads = 3;
  for (const RopePairing pairing : {RopePairing::kHalves, RopePairing::kInterleaved}) {
    for (const auto [head_dim, offset, dims] :
         {std::array<int64_t, 3>{64, 0, 64}, {10, 0, 10}, {192, 128, 64}, {70, 3, 34}, {128, 0, 32}, {8, 2, 2}}) {
      const int64_t stride = kHeads * head_dim + 5;
      const std::vector<float> x = RandomFloats(kRows * stride, 2);
      std::vector<float> cos;
      std::vector<float> sin;
      for (const float angle : RandomFloats(kRows * dims / 2, 3, 10.0f)) {
        cos.push_back(std::cos(angle));
        sin.push_back(std::sin(angle));
      }
      const auto turn = [&](const Kernels& kernels) {
        std::vector<float> out = x;
        kernels.rope({out.data(), stride, kRows, kHeads, head_dim, offset, dims, pairing, cos.data(), sin.data()},
                     pool);
        return out;
      };
      const std::vector<float> want = turn(Reference());
      const std::vector<float> best = turn(*FindKernels("auto"));
      for (const Kernels* kernels : FastTables()) {
        const std::vector<float> got = turn(*kernels);
        EXPECT_TRUE(SameBits(got, best)) << kernels->name;
        for (size_t i = 0; i < got.size(); ++i) {
          const int64_t in_head = static_cast<int64_t>(i) % stride % head_dim - offset;
          const bool padding = static_cast<int64_t>(i) % stride >= kHeads * head_dim;
          if (padding || in_head < 0 || in_head >= dims) {
            ASSERT_EQ(got[i], x[i]);
          } else {
            ASSERT_NEAR(got[i], want[i], 1e-6f);
          }
        }
      }
      // By hand: the first pair of row 1, head 1.
      const size_t first = static_cast<size_t>(stride + head_dim + offset);
      const size_t second = first + static_cast<size_t>(pairing == RopePairing::kHalves ? dims / 2 : 1);
      const size_t angle = static_cast<size_t>(dims / 2);
      EXPECT_NEAR(want[first], x[first] * cos[angle] - x[second] * sin[angle], 1e-6f);
      EXPECT_NEAR(want[second], x[second] * cos[angle] + x[first] * sin[angle], 1e-6f);
    }
  }
}

TEST(GatedActivation, AgainstTheReferenceOverAllMagnitudes) {
  ThreadPool one(1);
  ThreadPool two(2);
  for (const int64_t width : {1, 15, 16, 1000, 5000}) {
    const int64_t rows = 9;
    const std::vector<float> up = RandomFloats(rows * width, 5);
    for (const float magnitude : {0.01f, 1.0f, 10.0f, 100.0f, 1e30f}) {
      const std::vector<float> gate = RandomFloats(rows * width, 4, magnitude);
      const auto run = [&](const Kernels& kernels, ThreadPool& pool) {
        std::vector<float> out = gate;  // in place
        kernels.gated_activation({out.data(), width, up.data(), width, out.data(), width, rows, width}, pool);
        return out;
      };
      const std::vector<float> want = run(Reference(), one);
      const std::vector<float> best = run(*FindKernels("auto"), two);
      for (const Kernels* kernels : FastTables()) {
        const std::vector<float> got = run(*kernels, one);
        EXPECT_TRUE(SameBits(got, best)) << kernels->name;
        for (size_t i = 0; i < got.size(); ++i) {
          ASSERT_NEAR(got[i], want[i], std::fabs(want[i]) * 0x1p-20f + 1e-34f) << gate[i];
        }
      }
    }
  }
}

TEST(GatedActivation, NotANumberPasses) {
  ThreadPool pool(1);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<float> up(3, 1.0f);
  for (const Kernels* kernels : AvailableKernels()) {
    std::vector<float> gate = {nan, 1.0f, nan};
    kernels->gated_activation({gate.data(), 3, up.data(), 3, gate.data(), 3, 1, 3}, pool);
    EXPECT_TRUE(std::isnan(gate[0]) && !std::isnan(gate[1]) && std::isnan(gate[2])) << kernels->name;
  }
}

TEST(Roof, IsMeasured) {
  ThreadPool pool(2);
  const MachineRoof roof = MeasureRoof(pool, *FindKernels("auto"));
  EXPECT_GT(roof.read_gb_s, 0.1);
  EXPECT_GT(roof.int8_gops, 0.1);
  EXPECT_GT(roof.fp32_gflops, 0.1);
  const std::vector<std::byte> bytes((3 << 20) + 100);
  const std::span<const std::byte> parts[] = {bytes, {}, std::span(bytes).first(1000)};
  EXPECT_GT(SecondsToRead(pool, *FindKernels("auto"), parts), 0);
}

}  // namespace
}  // namespace gannet
