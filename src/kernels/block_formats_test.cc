// Five-bit blocks and K-quants of GGUF: fast tables against a second reading of the formats (ggml-common.h), value by
// value.
#include <gtest/gtest.h>

#include "kernels/test_support.h"

namespace gannet {
namespace {

using namespace testing_support;

constexpr Storage kFormats[] = {Storage::kQ5_0, Storage::kQ5_1, Storage::kQ4_K, Storage::kQ5_K, Storage::kQ6_K};

struct Value {
  double scaled;   // scale * code
  double minimum;  // added to it
  float whole() const { return static_cast<float>(scaled + minimum); }
};

int Bits(const std::byte* from, int64_t at, int shift, int mask) {
  return std::to_integer<int>(from[at]) >> shift & mask;
}

// Value k of a row.
Value Decode(Storage storage, const std::byte* row, int64_t k) {
  const StorageInfo& info = InfoOf(storage);
  const std::byte* block = row + k / info.block_values * info.block_bytes;
  const int64_t v = k % info.block_values;
  if (storage == Storage::kQ5_0 || storage == Storage::kQ5_1) {
    const int header = storage == Storage::kQ5_1 ? 4 : 2;
    const int code = Bits(block, header + 4 + v % 16, v < 16 ? 0 : 4, 15) | Bits(block, header + v / 8, v % 8, 1) << 4;
    const double scale = HalfAt(block);
    return storage == Storage::kQ5_1 ? Value{scale * code, HalfAt(block + 2)} : Value{scale * (code - 16), 0};
  }
  if (storage == Storage::kQ6_K) {
    const int64_t half = v / 128, group = v % 128 / 32, j = v % 32;
    const int code = Bits(block, 64 * half + 32 * (group % 2) + j, group < 2 ? 0 : 4, 15) |
                     Bits(block, 128 + 32 * half + j, static_cast<int>(2 * group), 3) << 4;
    const int scale = static_cast<int8_t>(block[192 + v / 16]);
    return {static_cast<double>(HalfAt(block + 208)) * scale * (code - 32), 0};
  }
  const int64_t s = v / 32;
  const int scale = s < 4 ? Bits(block, 4 + s, 0, 63) : Bits(block, 8 + s, 0, 15) | Bits(block, s, 6, 3) << 4;
  const int minimum = s < 4 ? Bits(block, 8 + s, 0, 63) : Bits(block, 8 + s, 4, 15) | Bits(block, 4 + s, 6, 3) << 4;
  const bool five = storage == Storage::kQ5_K;
  int code = Bits(block, (five ? 48 : 16) + s / 2 * 32 + v % 32, s % 2 == 0 ? 0 : 4, 15);
  if (five) code |= Bits(block, 16 + v % 32, static_cast<int>(s), 1) << 4;
  return {static_cast<double>(HalfAt(block)) * scale * code, -static_cast<double>(HalfAt(block + 2)) * minimum};
}

void DequantizeFormat(const Weight& weight, int64_t row, float* out) {
  for (int64_t k = 0; k < weight.cols; ++k) out[k] = Decode(weight.storage, weight.row(row), k).whole();
}

// Any bytes but for the fp16 scales.
TestWeight RandomFormat(Storage storage, int64_t rows, int64_t cols, uint32_t seed) {
  const StorageInfo& info = InfoOf(storage);
  TestWeight out;
  out.weight.storage = storage;
  out.weight.rows = rows;
  out.weight.cols = cols;
  out.weight.row_bytes = cols / info.block_values * info.block_bytes;
  out.weight.dequantize_row = DequantizeFormat;
  out.data.resize(static_cast<size_t>(rows * out.weight.row_bytes));
  std::mt19937 generator(seed);
  std::uniform_real_distribution<float> scales(-0.02f, 0.02f);
  for (std::byte& byte : out.data) byte = static_cast<std::byte>(generator());
  const bool two = storage != Storage::kQ5_0 && storage != Storage::kQ6_K;
  for (size_t at = storage == Storage::kQ6_K ? 208 : 0; at < out.data.size();
       at += static_cast<size_t>(info.block_bytes)) {
    for (size_t i = 0; i < (two ? 2 : 1); ++i) {
      const uint16_t bits = FloatToF16(scales(generator));
      std::memcpy(out.data.data() + at + 2 * i, &bits, 2);
    }
  }
  out.weight.data = out.data.data();
  return out;
}

// Both planes: multiples of a block's largest / 32258.
std::vector<double> Quantized(const float* x, int64_t k) {
  std::vector<double> out(static_cast<size_t>(k));
  for (int64_t b = 0; b < k; b += 32) {
    float largest = 0;
    for (int64_t i = 0; i < 32; ++i) largest = std::max(largest, std::fabs(x[b + i]));
    for (int64_t i = 0; i < 32; ++i) {
      out[static_cast<size_t>(b + i)] =
          std::nearbyint(x[b + i] * (32258.0f / largest)) * static_cast<double>(largest / 32258.0f);
    }
  }
  return out;
}

// fp64 sums of the very operands; what remains is fp32 rounding, at most half an ulp of the running sum in each of two
// steps a block (four of Q6_K's and of those with minima).
TEST(BlockFormats, EqualExactSumsAndEveryTableAndAnyRows) {
  ThreadPool one(1), two(2);
  for (const Storage storage : kFormats) {
    for (const int64_t n : {33, 70}) {
      const int64_t k = InfoOf(storage).block_values == 256 ? 512 : 160;
      constexpr int64_t kRows = 9;
      const TestWeight w = RandomFormat(storage, n, k, static_cast<uint32_t>(n));
      const std::vector<float> x = RandomFloats(kRows * k, 8);
      std::vector<float> first;
      for (const Kernels* kernels : FastTables()) {
        SCOPED_TRACE(std::string(InfoOf(storage).name) + " " + kernels->name);
        const auto packed = kernels->pack(w.weight);
        ASSERT_EQ(std::string(packed->kernel()).find("plain"), std::string::npos);
        const std::vector<float> got = Product(*kernels, *packed, x.data(), kRows, two);
        for (int64_t r = 0; r < kRows; ++r) {
          const std::vector<double> rounded = Quantized(x.data() + r * k, k);
          for (int64_t i = 0; i < n; ++i) {
            double sum = 0, size = 0;
            for (int64_t c = 0; c < k; ++c) {
              const Value value = Decode(storage, w.weight.row(i), c);
              sum += (value.scaled + value.minimum) * rounded[static_cast<size_t>(c)];
              size += (std::fabs(value.scaled) + std::fabs(value.minimum)) * std::fabs(rounded[static_cast<size_t>(c)]);
            }
            const double steps = 4.0 * static_cast<double>(k) / 32;
            ASSERT_NEAR(got[static_cast<size_t>(r * n + i)], sum, (steps + 4) * 0x1p-23 * size) << r << ", " << i;
          }
          const std::vector<float> alone = Product(*kernels, *packed, x.data() + r * k, 1, one);
          ASSERT_TRUE(SameBits(alone, {got.begin() + r * n, got.begin() + (r + 1) * n})) << r;
        }
        if (first.empty()) first = got;
        EXPECT_TRUE(SameBits(first, got)) << "tables differ";
      }
    }
  }
}

}  // namespace
}  // namespace gannet
