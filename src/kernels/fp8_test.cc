// FP8 weights with scales of blocks, of rows and of the whole matrix, as they are and transposed.
#include <gtest/gtest.h>

#include "kernels/test_support.h"

namespace gannet {
namespace {

using namespace testing_support;

constexpr int64_t kRows = 72, kCols = 160, kBatch = 9;

double ValueOf(std::byte code) {  // e4m3fn of the OCP 8-bit floating point specification
  const int bits = std::to_integer<int>(code);
  const int exponent = bits >> 3 & 15, mantissa = bits & 7;
  const double size = exponent == 0 ? std::ldexp(mantissa, -9) : std::ldexp(8 + mantissa, exponent - 10);
  return bits & 128 ? -size : size;
}

double ScaleOf(const Scales& scales, int64_t row, int64_t column) {
  float scale;
  const int64_t at = row / scales.group_rows * scales.row_step + column / scales.group_cols * scales.col_step;
  std::memcpy(&scale, scales.data + 4 * at, 4);
  return scale;
}

void DequantizeFp8(const Weight& weight, int64_t row, float* out) {
  for (int64_t c = 0; c < weight.cols; ++c) {
    out[c] = static_cast<float>(ValueOf(weight.row(row)[c]) * ScaleOf(*weight.scales, row, c));
  }
}

// Every code that is a number, zeros of both signs and subnormals among them.
TestWeight RandomFp8(int64_t group_rows, int64_t group_cols) {
  TestWeight out;
  const int64_t across = (kCols + group_cols - 1) / group_cols, down = (kRows + group_rows - 1) / group_rows;
  const std::vector<float> scales = RandomFloats(across * down, 2, 0.01f);
  out.data.resize(static_cast<size_t>(kRows * kCols) + scales.size() * 4);
  std::mt19937 generator(3);
  for (std::byte& byte : out.data) {
    do byte = static_cast<std::byte>(generator());
    while ((byte & std::byte{127}) == std::byte{127});
  }
  std::byte* const at = out.data.data() + kRows * kCols;
  std::memcpy(at, scales.data(), scales.size() * 4);
  out.scales = std::make_shared<Scales>(Scales{.type = ScaleType::kF32, .data = at});
  out.scales->group_rows = group_rows;
  out.scales->group_cols = group_cols;
  out.scales->row_step = across;
  out.scales->whole_rows = kRows;
  out.weight = {.storage = Storage::kE4M3, .rows = kRows, .cols = kCols, .data = out.data.data(), .row_bytes = kCols};
  out.weight.scales = out.scales.get();
  out.weight.dequantize_row = DequantizeFp8;
  return out;
}

struct Groups {
  int64_t rows, cols;
};
constexpr Groups kBlocks{32, 64}, kOfRows{1, kCols}, kWhole{kRows, kCols};

// fp64 sums of code, scale and activation: fp32 roundings of x * scale, of each step and of a row's scale remain.
TEST(Fp8, EqualsPlainLoopsAndEveryTableAndAnyRows) {
  ThreadPool pool(2);
  for (const bool turned : {false, true}) {
    for (const Groups groups : {kBlocks, kOfRows, kWhole}) {
      const TestWeight w = RandomFp8(groups.rows, groups.cols);
      const int64_t n = turned ? kCols : kRows, k = turned ? kRows : kCols;
      const std::vector<float> x = RandomFloats(kBatch * k, 6);
      std::vector<float> first;
      for (const Kernels* kernels : FastTables()) {
        SCOPED_TRACE(std::string(kernels->name) + (turned ? " turned, groups of " : ", groups of ") +
                     std::to_string(groups.rows));
        const auto packed = turned ? kernels->pack_transposed(w.weight) : kernels->pack(w.weight);
        ASSERT_TRUE(packed);
        ASSERT_EQ(std::string(packed->kernel()).find("plain"), std::string::npos);
        const std::vector<float> got = Product(*kernels, *packed, x.data(), kBatch, pool);
        for (int64_t r = 0; r < kBatch; ++r) {
          for (int64_t i = 0; i < n; ++i) {
            double sum = 0, size = 0;
            for (int64_t c = 0; c < k; ++c) {
              const int64_t row = turned ? c : i, column = turned ? i : c;
              const double value = ValueOf(w.weight.row(row)[column]) * ScaleOf(*w.scales, row, column);
              sum += value * x[static_cast<size_t>(r * k + c)];
              size += std::fabs(value * x[static_cast<size_t>(r * k + c)]);
            }
            ASSERT_NEAR(got[static_cast<size_t>(r * n + i)], sum, static_cast<double>(k + 4) * 0x1p-23 * size);
          }
          const std::vector<float> alone = Product(*kernels, *packed, x.data() + r * k, 1, pool);
          ASSERT_TRUE(SameBits(alone, {got.begin() + r * n, got.begin() + (r + 1) * n})) << r;
        }
        if (first.empty()) first = got;
        EXPECT_TRUE(SameBits(first, got)) << "tables differ";
      }
    }
  }
}

TEST(Fp8, NanIsNoNumberAndOddGroupsArePlain) {
  ThreadPool pool(2);
  for (const Kernels* kernels : FastTables()) {
    TestWeight w = RandomFp8(kBlocks.rows, kBlocks.cols);
    w.data[5 * kCols + 7] = std::byte{0xff};
    const std::vector<float> x = RandomFloats(kCols, 6);
    EXPECT_TRUE(std::isnan(Product(*kernels, *kernels->pack(w.weight), x.data(), 1, pool)[5]));
    EXPECT_TRUE(std::isnan(Product(*kernels, *kernels->pack_transposed(w.weight), x.data(), 1, pool)[7]));
    const TestWeight odd = RandomFp8(20, 64);  // a tile of 32 rows would have two scales
    EXPECT_NE(std::string(kernels->pack(odd.weight)->kernel()).find("plain"), std::string::npos);
  }
}

}  // namespace
}  // namespace gannet
