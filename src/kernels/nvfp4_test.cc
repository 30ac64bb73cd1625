// 4-bit floats with an FP8 scale for every 16 and a factor for all (NVFP4).
#include <gtest/gtest.h>

#include "kernels/test_support.h"

namespace gannet {
namespace {

using namespace testing_support;

constexpr int64_t kRows = 70, kCols = 160, kBatch = 9;
constexpr float kFactor = 0.0123f;

double ValueAt(const Weight& weight, int64_t row, int64_t column) {
  constexpr double kValues[8] = {0, 0.5, 1, 1.5, 2, 3, 4, 6};
  const int pair = std::to_integer<int>(weight.row(row)[column / 2]);
  const int code = column % 2 == 0 ? pair & 15 : pair >> 4;
  const int scale = std::to_integer<int>(weight.scales->data[row * weight.scales->row_step + column / 16]);
  const double size = scale >> 3 == 0 ? std::ldexp(scale & 7, -9) : std::ldexp(8 + (scale & 7), (scale >> 3) - 10);
  return (code < 8 ? kValues[code] : -kValues[code - 8]) * size * kFactor;
}

void Dequantize(const Weight& weight, int64_t row, float* out) {
  for (int64_t c = 0; c < weight.cols; ++c) out[c] = static_cast<float>(ValueAt(weight, row, c));
}

// Scales are any positive number, subnormals and zero among them.
TestWeight RandomNvFp4() {
  TestWeight out;
  const size_t values = kRows * kCols / 2;
  out.data.resize(values + kRows * kCols / 16);
  std::mt19937 generator(3);
  for (std::byte& byte : out.data) byte = static_cast<std::byte>(generator());
  for (size_t at = values; at < out.data.size(); ++at) out.data[at] = static_cast<std::byte>(generator() % 127);
  out.scales = std::make_shared<Scales>(Scales{.type = ScaleType::kE4M3, .data = out.data.data() + values});
  out.scales->group_cols = 16;
  out.scales->row_step = kCols / 16;
  out.scales->whole_rows = kRows;
  out.scales->factor = kFactor;
  out.weight = {
      .storage = Storage::kE2M1, .rows = kRows, .cols = kCols, .data = out.data.data(), .row_bytes = kCols / 2};
  out.weight.scales = out.scales.get();
  out.weight.dequantize_row = Dequantize;
  return out;
}

// fp64 sums of the very operands, activations in one plane of 127 steps; fp32 rounding of two steps a block and of the
// factor remains.
TEST(NvFp4, EqualsExactSumsAndEveryTableAndAnyRows) {
  ThreadPool one(1), two(2);
  TestWeight w = RandomNvFp4();
  const std::vector<float> x = RandomFloats(kBatch * kCols, 6);
  std::vector<double> rounded(x.size());
  for (size_t b = 0; b < x.size(); b += 32) {
    float largest = 0;
    for (size_t i = b; i < b + 32; ++i) largest = std::max(largest, std::fabs(x[i]));
    for (size_t i = b; i < b + 32; ++i) {
      rounded[i] = std::nearbyint(x[i] * (127.0f / largest)) * static_cast<double>(largest / 127.0f);
    }
  }
  std::vector<float> first;
  for (const Kernels* kernels : FastTables()) {
    SCOPED_TRACE(kernels->name);
    const auto packed = kernels->pack(w.weight);
    ASSERT_EQ(std::string(packed->kernel()).find("plain"), std::string::npos);
    const std::vector<float> got = Product(*kernels, *packed, x.data(), kBatch, two);
    for (int64_t r = 0; r < kBatch; ++r) {
      for (int64_t i = 0; i < kRows; ++i) {
        double sum = 0, size = 0;
        for (int64_t c = 0; c < kCols; ++c) {
          const double product = ValueAt(w.weight, i, c) * rounded[static_cast<size_t>(r * kCols + c)];
          sum += product;
          size += std::fabs(product);
        }
        ASSERT_NEAR(got[static_cast<size_t>(r * kRows + i)], sum, (2.0 * kCols / 16 + 5) * 0x1p-23 * size);
      }
      const std::vector<float> alone = Product(*kernels, *packed, x.data() + r * kCols, 1, one);
      ASSERT_TRUE(SameBits(alone, {got.begin() + r * kRows, got.begin() + (r + 1) * kRows})) << r;
    }
    if (first.empty()) first = got;
    EXPECT_TRUE(SameBits(first, got)) << "tables differ";
  }
  w.data[kRows * kCols / 2 + 3 * (kCols / 16) + 1] = std::byte{0x7f};
  for (const Kernels* kernels : FastTables()) {
    const std::vector<float> got = Product(*kernels, *kernels->pack(w.weight), x.data(), 1, one);
    for (size_t i = 0; i < kRows; ++i) EXPECT_EQ(std::isnan(got[i]), i == 3) << i;
  }
}

}  // namespace
}  // namespace gannet
