// Table amx against its definition in cpu/matmul_leaves.h, one multiplication and addition after the other.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "kernels/test_support.h"

namespace gannet {
namespace {

using namespace testing_support;

float Flushed(float value) { return std::fpclassify(value) == FP_SUBNORMAL ? std::copysign(0.0f, value) : value; }

std::vector<float> PlaneOf(std::vector<float>& x) {
  std::vector<float> plane(x.size());
  for (size_t i = 0; i < x.size(); ++i) {
    plane[i] = BF16ToFloat(FloatToBF16(Flushed(x[i])));
    x[i] = std::isfinite(plane[i]) ? x[i] - plane[i] : 0.0f;
  }
  return plane;
}

// out [m, n]
std::vector<float> ByDefinition(const Weight& weight, const std::vector<float>& x, int64_t m) {
  const int64_t k = weight.cols;
  const int64_t padded = (k + 31) / 32 * 32;
  std::vector<float> out;
  for (int64_t j = 0; j < m; ++j) {
    std::vector<float> rest(static_cast<size_t>(padded));
    std::copy_n(x.data() + j * k, k, rest.data());
    const std::vector<float> planes[] = {PlaneOf(rest), PlaneOf(rest), PlaneOf(rest)};
    for (int64_t n = 0; n < weight.rows; ++n) {
      std::vector<float> w(static_cast<size_t>(padded));
      DequantizeRow(weight, n, w.data());
      float total = 0;
      for (int64_t b = 0; b < padded; b += 32) {
        for (const std::vector<float>& plane : planes) {
          float sums[2] = {0, 0};
          for (int64_t i = 0; i < 16; ++i) {
            for (int64_t which = 0; which < 2; ++which) {
              const size_t at = static_cast<size_t>(b + 2 * i + which);
              sums[which] = Flushed(std::fma(Flushed(w[at]), Flushed(plane[at]), sums[which]));
            }
          }
          total = Flushed(total + Flushed(sums[0] + sums[1]));
        }
      }
      out.push_back(total);
    }
  }
  return out;
}

// Equal bits, or both no number.
void ExpectSame(const std::vector<float>& got, const std::vector<float>& want, const std::string& what) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i) {
    if (std::isnan(want[i]) ? std::isnan(got[i]) : std::memcmp(&got[i], &want[i], sizeof(float)) == 0) continue;
    FAIL() << what << " at " << i << ": " << got[i] << ", not " << want[i];
  }
}

class AmxMatmul : public testing::Test {
 protected:
  void SetUp() override {
    if (!kernels_) GTEST_SKIP() << "this machine has no table amx";
  }
  std::vector<float> Multiply(const Weight& weight, const std::vector<float>& x, int64_t m) {
    return Product(*kernels_, *kernels_->pack(weight), x.data(), m, pool_);
  }
  const Kernels* kernels_ = FindKernels("amx");
  ThreadPool pool_ = ThreadPool(2);
};

TEST_F(AmxMatmul, Bf16IsTheDefinition) {
  for (const int64_t k : {10, 32, 96, 160, 1100, 1312}) {
    for (const int64_t m : {1, 2, 3, 4, 5, 15, 16, 17, 32, 33, 70}) {
      const TestWeight w = RandomWeight(Storage::kBF16, 37, k, static_cast<uint32_t>(k));
      ASSERT_EQ(kernels_->pack(w.weight)->operands(), Operands::kBf16);
      const std::vector<float> x = RandomFloats(m * k, static_cast<uint32_t>(m));
      ExpectSame(Multiply(w.weight, x, m), ByDefinition(w.weight, x, m),
                 "k " + std::to_string(k) + " m " + std::to_string(m));
    }
  }
}

TEST_F(AmxMatmul, WeightsOfAllKindsShareRows) {
  constexpr int64_t k = 192;
  constexpr int64_t m = 40;
  const TestWeight weights[] = {RandomWeight(Storage::kMxfp4, 33, k, 1), RandomWeight(Storage::kBF16, 33, k, 2),
                                RandomWeight(Storage::kQ8_0, 33, k, 3)};
  const std::vector<float> x = RandomFloats(m * k, 4);
  std::vector<std::unique_ptr<PackedMatrix>> packed;
  std::vector<std::vector<float>> outs(3, std::vector<float>(m * 33));
  std::vector<MatmulTarget> targets;
  for (size_t i = 0; i < 3; ++i) {
    packed.push_back(kernels_->pack(weights[i].weight));
    targets.push_back({packed[i].get(), outs[i].data(), 33, nullptr, false});
  }
  const MatmulArgs job{x.data(), k, m, k, targets, {}};
  kernels_->matmul({&job, 1}, pool_);
  for (size_t i = 0; i < 3; ++i) EXPECT_TRUE(SameBits(outs[i], Multiply(weights[i].weight, x, m)));
}

TEST_F(AmxMatmul, ActivationsAtTheEndsOfFloat) {
  constexpr int64_t k = 64;
  const TestWeight w = RandomWeight(Storage::kBF16, 32, k, 5);
  for (const float size : {0.0f, 0x1p-130f, 0x1p-30f, 1.0f, 0x1p100f, 0x1.ffp127f,
                           std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
    for (const int64_t m : {3, 20}) {
      std::vector<float> x = RandomFloats(m * k, 6);
      for (size_t i = 0; i < k; ++i) x[k + i] *= size;
      ExpectSame(Multiply(w.weight, x, m), ByDefinition(w.weight, x, m), std::to_string(size));
    }
  }
}

}  // namespace
}  // namespace gannet
