#include <gtest/gtest.h>

#include <bit>
#include <limits>

#include "kernels/test_support.h"

namespace gannet {
namespace {

using namespace testing_support;

constexpr float kSentinel = 1234.5f;
constexpr float kMost = 127 * 254;  // of a quantized activation
bool Fp4(Storage storage) { return storage == Storage::kMxfp4 || storage == Storage::kE2M1; }
bool Int8(Storage storage) {
  return storage == Storage::kQ8_0 || storage == Storage::kQ4_0 || storage == Storage::kQ4_1 ||
         storage == Storage::kI8 || storage == Storage::kU4 || Fp4(storage);
}
float MostOf(Storage storage) { return Fp4(storage) ? 127 : kMost; }  // 4-bit floats take one plane

// The activations after quantization as documented, in plain arithmetic.
std::vector<float> Quantized(const float* x, int64_t k, float most) {
  std::vector<float> out(static_cast<size_t>(k));
  for (int64_t b = 0; b < k; b += 32) {
    float largest = 0;
    for (int64_t i = 0; i < 32; ++i) largest = std::max(largest, std::fabs(x[b + i]));
    if (largest < 0x1p-100f) continue;
    for (int64_t i = 0; i < 32; ++i) {
      out[static_cast<size_t>(b + i)] = std::nearbyint(x[b + i] * (most / largest)) * (largest / most);
    }
  }
  return out;
}

// Against fp64 sums of the very operands: what remains is fp32 rounding, at most one half ulp of the running sum per
// step, (steps + 4) * 2^-23 * sum |x w|.
void ExpectClose(const Kernels& kernels, Storage storage, int64_t m, int64_t n, int64_t k) {
  ThreadPool pool(2);
  const TestWeight w = RandomWeight(storage, n, k, static_cast<uint32_t>(7 * n + k));
  const std::vector<float> x = RandomFloats(m * k, static_cast<uint32_t>(m));
  const std::vector<float> got = Multiply(kernels, w.weight, x, m, pool);
  const bool int8 = kernels.pack(w.weight)->operands() == Operands::kInt8;
  const auto round = [&](const float* exact) {
    return int8 ? Quantized(exact, k, MostOf(storage)) : std::vector<float>(exact, exact + k);
  };
  std::vector<float> row(static_cast<size_t>(k));
  for (int64_t i = 0; i < n; ++i) {
    DequantizeRow(w.weight, i, row.data());
    for (int64_t j = 0; j < m; ++j) {
      const float* exact = x.data() + j * k;
      const std::vector<float> rounded = round(exact);
      double sum = 0;
      double size = 0;
      double unquantized = 0;
      double step_bound = 0;
      for (int64_t c = 0; c < k; ++c) {
        const size_t at = static_cast<size_t>(c);
        sum += static_cast<double>(rounded[at]) * row[at];
        size += std::fabs(static_cast<double>(rounded[at]) * row[at]);
        unquantized += static_cast<double>(exact[c]) * row[at];
        if (storage == Storage::kQ4_1) size += std::fabs(16.0 * 0.02 * rounded[at]);  // nibble and minimum apart
        float largest = 0;
        for (int64_t b = c / 32 * 32; int8 && b < c / 32 * 32 + 32; ++b) {
          largest = std::max(largest, std::fabs(exact[b]));
        }
        step_bound += std::fabs(row[at]) * largest / (2.0 * MostOf(storage)) * 1.02;
      }
      const double steps = int8 ? 2.0 * static_cast<double>(k) / 32 : static_cast<double>(k);
      const double rounding = (steps + 4) * 0x1p-23 * size;
      const float value = got[static_cast<size_t>(j * n + i)];
      ASSERT_NEAR(value, sum, rounding) << kernels.name << ' ' << NameOf(storage) << " m " << m << " n " << n << " k "
                                        << k << " at " << j << ',' << i;
      // Against the unquantized product, half a step per activation, 2^-16 (of one plane 2^-8) of the
      // block's largest, and what fp32 costs on the way, below 2^-24 * 32258 three times or 0.6 % of a step. Models
      // need both planes: matmul_leaves.h says what one does.
      ASSERT_NEAR(value, unquantized, step_bound + rounding);
    }
  }
}

TEST(Matmul, EveryTableAgainstExactSums) {
  for (const Kernels* kernels : FastTables()) {
    for (const Storage storage : kStorages) {
      for (const int64_t m : {1, 2, 3, 5, 8, 9}) {
        for (const int64_t n : {1, 16, 31, 33, 70}) {
          ExpectClose(*kernels, storage, m, n, 32);
          ExpectClose(*kernels, storage, m, n, 160);
          if (!Int8(storage)) ExpectClose(*kernels, storage, m, n, 10);
        }
      }
    }
  }
}

TEST(Matmul, ReferenceIsTheDefinition) {
  ThreadPool pool(2);
  for (const Storage storage : kStorages) {
    const TestWeight w = RandomWeight(storage, 40, 64, 3);
    const std::vector<float> x = RandomFloats(3 * 64, 4);
    const std::vector<float> got = Multiply(*FindKernels("reference"), w.weight, x, 3, pool);
    std::vector<float> row(64);
    for (size_t i = 0; i < 40; ++i) {
      DequantizeRow(w.weight, static_cast<int64_t>(i), row.data());
      for (size_t j = 0; j < 3; ++j) {
        double sum = 0;
        for (size_t c = 0; c < 64; ++c) sum += static_cast<double>(row[c]) * x[j * 64 + c];
        EXPECT_NEAR(got[j * 40 + i], sum, 1e-6);
      }
    }
  }
}

// Largest magnitudes everywhere: no 16-bit sum on the way may saturate.
TEST(Matmul, ExtremesStayExact) {
  ThreadPool pool(1);
  constexpr int64_t k = 128;
  for (const Storage storage : {Storage::kQ8_0, Storage::kQ4_0, Storage::kQ4_1}) {
    for (const int byte : {0x80, 0x7f, 0xff, 0x00}) {
      // Every value at the ends of the high plane; or, but for one in each block, at those of the low plane.
      for (const float fill : {kMost, -kMost, 127.0f, -127.0f, 381.0f, -381.0f}) {
        TestWeight w = RandomWeight(storage, 16, k, 1);
        const size_t block = static_cast<size_t>(InfoOf(storage).block_bytes);
        for (size_t i = 0; i < w.data.size(); ++i) {
          const size_t header = storage == Storage::kQ4_1 ? 4 : 2;
          if (i % block >= header) w.data[i] = static_cast<std::byte>(byte);
          const uint16_t one = FloatToF16(i % block < 2 ? 1.0f : 0.0f);
          if (i % block == 0 || (header == 4 && i % block == 2)) std::memcpy(w.data.data() + i, &one, 2);
        }
        w.weight.data = w.data.data();
        std::vector<float> row(k);
        DequantizeRow(w.weight, 0, row.data());
        std::vector<float> x(k, fill);
        for (size_t i = 0; i < k; i += 32) x[i] = std::copysign(kMost, fill);
        double want = 0;
        for (size_t i = 0; i < k; ++i) want += static_cast<double>(row[i]) * x[i];
        for (const Kernels* kernels : AvailableKernels()) {
          for (const float value : Multiply(*kernels, w.weight, x, 1, pool)) {
            ASSERT_EQ(value, static_cast<float>(want))
                << kernels->name << ' ' << NameOf(storage) << ' ' << byte << ' ' << fill;
          }
        }
      }
    }
  }
}

TEST(Matmul, TargetsBiasAccumulateAndStrides) {
  ThreadPool pool(2);
  constexpr int64_t k = 96;
  constexpr int64_t m = 10;
  constexpr int64_t stride = 90;
  for (const Kernels* kernels : AvailableKernels()) {
    const TestWeight weights[] = {RandomWeight(Storage::kQ4_1, 33, k, 1), RandomWeight(Storage::kF32, 7, k, 2),
                                  RandomWeight(Storage::kU8, 80, k, 3)};
    const std::vector<float> x = RandomFloats(m * (k + 5), 4);
    std::vector<float> dense;
    for (int64_t r = 0; r < m; ++r) dense.insert(dense.end(), x.begin() + r * (k + 5), x.begin() + r * (k + 5) + k);
    const std::vector<float> bias = RandomFloats(80, 5);
    std::vector<std::unique_ptr<PackedMatrix>> packed;
    std::vector<std::vector<float>> outs(3, std::vector<float>(m * stride, kSentinel));
    std::vector<MatmulTarget> targets;
    for (size_t t = 0; t < 3; ++t) {
      packed.push_back(kernels->pack(weights[t].weight));
      targets.push_back({packed[t].get(), outs[t].data(), stride, t == 1 ? nullptr : bias.data(), t == 2});
    }
    const MatmulArgs job{x.data(), k + 5, m, k, targets, {}};
    kernels->matmul({&job, 1}, pool);
    for (size_t t = 0; t < 3; ++t) {
      const int64_t n = weights[t].weight.rows;
      const std::vector<float> product = Multiply(*kernels, weights[t].weight, dense, m, pool);
      for (int64_t r = 0; r < m; ++r) {
        for (int64_t c = 0; c < stride; ++c) {
          float want = kSentinel;
          if (c < n) {
            const float sum = product[static_cast<size_t>(r * n + c)];
            const float biased = t == 1 ? sum : sum + bias[static_cast<size_t>(c)];
            want = t == 2 ? kSentinel + biased : biased;
          }
          ASSERT_EQ(outs[t][static_cast<size_t>(r * stride + c)], want) << kernels->name << ' ' << t;
        }
      }
    }
  }
}

TEST(Matmul, NotANumberStaysInItsRow) {
  ThreadPool pool(2);
  for (const Kernels* kernels : FastTables()) {
    for (const Storage storage : kStorages) {
      const TestWeight w = RandomWeight(storage, 20, 64, 1);
      std::vector<float> x = RandomFloats(4 * 64, 2);
      const std::vector<float> clean = Multiply(*kernels, w.weight, x, 4, pool);
      x[64 + 5] = std::numeric_limits<float>::quiet_NaN();
      x[2 * 64 + 50] = std::numeric_limits<float>::infinity();
      const std::vector<float> got = Multiply(*kernels, w.weight, x, 4, pool);
      for (size_t i = 0; i < got.size(); ++i) {
        if (i / 20 == 1 || i / 20 == 2) {
          EXPECT_FALSE(std::isfinite(got[i]));
        } else {
          EXPECT_EQ(got[i], clean[i]);
        }
      }
    }
  }
}

// Scales far apart, whose products are no normal numbers or overflow: rows in one pass, where exponents may be added,
// have the bits of each row alone and of every table.
TEST(Matmul, ScalesOfFp4AtTheEndsOfFloat) {
  ThreadPool pool(1);
  constexpr int64_t k = 192;
  for (const Storage storage : {Storage::kMxfp4, Storage::kE2M1}) {
    for (const int exponent : {0, 1, 20, 127, 235, 254, 255}) {
      TestWeight w = RandomWeight(storage, 32, k, 5);
      std::byte* const scale = storage == Storage::kMxfp4 ? w.data.data() : w.data.data() + 32 * k / 2;
      *scale = static_cast<std::byte>(exponent);
      for (const float size : {0.0f, 0x1p-99f, 0x1p-30f, 1.0f, 0x1p100f, std::numeric_limits<float>::infinity()}) {
        for (const int64_t m : {8, 19}) {
          std::vector<float> x = RandomFloats(m * k, 6);
          for (int64_t i = 0; i < k; ++i) x[static_cast<size_t>(3 * k + i)] *= size;
          std::vector<float> first;
          for (const Kernels* kernels : FastTables()) {
            std::vector<float> got = Multiply(*kernels, w.weight, x, m, pool);
            for (int64_t r = 0; r < m; ++r) {
              const std::vector<float> row(x.begin() + r * k, x.begin() + (r + 1) * k);
              const std::vector<float> alone = Multiply(*kernels, w.weight, row, 1, pool);
              for (size_t i = 0; i < 32; ++i) {
                float& value = got[static_cast<size_t>(r) * 32 + i];
                if (std::isnan(alone[i])) {  // one payload
                  ASSERT_TRUE(std::isnan(value)) << kernels->name << ' ' << exponent << ' ' << size << ' ' << r;
                  value = std::numeric_limits<float>::quiet_NaN();
                } else {
                  ASSERT_EQ(std::bit_cast<uint32_t>(value), std::bit_cast<uint32_t>(alone[i]))
                      << kernels->name << ' ' << exponent << ' ' << size << ' ' << r;
                }
              }
            }
            if (kernels->pack(w.weight)->operands() == Operands::kBf16) continue;
            if (first.empty()) first = got;
            EXPECT_TRUE(SameBits(first, got)) << kernels->name << ' ' << exponent << ' ' << size;
          }
        }
      }
    }
  }
}

// A last tile that is not full, an odd number of blocks, more rows than one task takes.
TEST(Matmul, TilesThatAreForgottenGiveTheSameBits) {
  ThreadPool pool(2);
  for (const Kernels* kernels : FastTables()) {
    for (const Storage storage : kStorages) {
      SCOPED_TRACE(NameOf(storage) + " " + kernels->name);
      const TestWeight w = RandomWeight(storage, 70, 96, 5);
      const std::vector<float> x = RandomFloats(300 * 96, 6);
      const auto packed = kernels->pack(w.weight);
      packed->set_keeps(false);
      const std::vector<float> forgotten = Product(*kernels, *packed, x.data(), 300, pool);
      EXPECT_FALSE(packed->owns_memory());
      packed->set_keeps(true);
      EXPECT_TRUE(SameBits(Product(*kernels, *packed, x.data(), 300, pool), forgotten));
      EXPECT_EQ(packed->owns_memory(), storage != Storage::kU8);
      EXPECT_TRUE(SameBits(Multiply(*kernels, w.weight, x, 300, pool), forgotten));
    }
  }
}

TEST(Matmul, TinyAndZeroRows) {
  ThreadPool pool(1);
  for (const Kernels* kernels : FastTables()) {
    const TestWeight w = RandomWeight(Storage::kQ8_0, 20, 64, 1);
    std::vector<float> x(3 * 64, 0.0f);
    for (size_t i = 64; i < 128; ++i) x[i] = 1e-42f;
    for (size_t i = 128; i < 192; ++i) x[i] = 1e-20f;
    const std::vector<float> got = Multiply(*kernels, w.weight, x, 3, pool);
    for (size_t i = 0; i < 40; ++i) EXPECT_EQ(got[i], 0.0f);
    for (size_t i = 40; i < 60; ++i) EXPECT_TRUE(std::isfinite(got[i]) && got[i] != 0) << got[i];
  }
}

TEST(Kernels, TablesHaveNames) {
  ASSERT_GE(AvailableKernels().size(), 2u);
  EXPECT_STREQ(AvailableKernels().back()->name, "reference");
  EXPECT_EQ(FindKernels("auto"), AvailableKernels()[0]);
  EXPECT_EQ(FindKernels("abacus"), nullptr);
  ThreadPool pool(1);
  for (const Kernels* kernels : FastTables()) {
    EXPECT_EQ(FindKernels(kernels->name), kernels);
    const TestWeight fast = RandomWeight(Storage::kQ4_1, 32, 64, 1);
    const auto packed = kernels->pack(fast.weight);
    EXPECT_FALSE(packed->owns_memory());
    EXPECT_TRUE(packed->streamed().empty());
    packed->Settle(pool);
    EXPECT_EQ(std::ssize(packed->streamed()), packed->bytes());
    EXPECT_EQ(packed->kernel(), std::string("q4_1 x int8 ") + kernels->name);
    EXPECT_TRUE(packed->owns_memory());
    EXPECT_EQ(packed->bytes(), fast.weight.bytes());
    const TestWeight slow = RandomWeight(Storage::kU8, 32, 64, 1);
    const auto plain = kernels->pack(slow.weight);
    EXPECT_NE(std::string(plain->kernel()).find("plain"), std::string::npos);
    EXPECT_FALSE(plain->owns_memory());
  }
  const Kernels* reference = FindKernels("reference");
  const TestWeight whole = RandomWeight(Storage::kQ4_1, 32, 64, 1);
  EXPECT_EQ(reference->pack(whole.weight)->streamed().data(), whole.weight.data);
  Weight half = whole.weight;  // of its columns
  half.cols /= 2;
  EXPECT_TRUE(reference->pack(half)->streamed().empty());
}

}  // namespace
}  // namespace gannet
