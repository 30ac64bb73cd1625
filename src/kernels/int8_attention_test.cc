// Attention over int8 caches against the formulas of cpu/attention_int8.h in fp64, and against the reference.
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstring>

#include "kernels/test_support.h"

namespace gannet {
namespace {

using namespace testing_support;

constexpr int64_t kTokens = 1100;                  // three pieces
constexpr int64_t kStepTokens = 2 * kBlockTokens;  // that share a unit of their weights
constexpr float kScale = 0.11f;

struct Int8Row {
  std::vector<double> quants;
  double scale;
};

Int8Row Quantized(const float* x, int64_t count, float factor = 1) {
  float largest = 0;
  for (int64_t i = 0; i < count; ++i) largest = std::max(largest, std::fabs(x[i] * factor));
  Int8Row row{{}, largest / 127};
  for (int64_t i = 0; i < count; ++i) row.quants.push_back(std::nearbyint(x[i] * factor * (127 / largest)));
  return row;
}

double Dot(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

struct Cache {
  KvLayout layout;
  std::vector<float> keys;    // [kTokens, kv_heads * key_dim]
  std::vector<float> values;  // [kTokens, kv_heads * value_dim]
  std::vector<std::byte> memory;
  std::vector<int32_t> blocks;
  KvPages pages;

  // The parts of a key, or of a query, that have a scale each.
  std::vector<Int8Row> Parts(const float* x, float factor = 1) const {
    if (!layout.latent) return {Quantized(x, layout.key_dim, factor)};
    return {Quantized(x, layout.value_dim, factor),
            Quantized(x + layout.value_dim, layout.key_dim - layout.value_dim, factor)};
  }
  const float* key(int64_t token, int64_t head) const {
    return keys.data() + (token * layout.kv_heads + head) * layout.key_dim;
  }
  const float* value(int64_t token, int64_t head) const {
    return layout.latent ? key(token, 0) : values.data() + (token * layout.kv_heads + head) * layout.value_dim;
  }
};

// Tokens 0.. in blocks out of order; what holds no token has NaN scales.
Cache MakeCache(const KvLayout& layout, const Kernels& kernels, ThreadPool& pool) {
  Cache cache;
  cache.layout = layout;
  cache.pages.layout = layout;
  cache.pages.block_stride = layout.block_bytes();
  const int64_t count = (kTokens + kBlockTokens - 1) / kBlockTokens;
  cache.memory.assign(static_cast<size_t>(count * cache.pages.block_stride + 64), std::byte{0xff});
  cache.pages.base = cache.memory.data() + (64 - reinterpret_cast<uintptr_t>(cache.memory.data()) % 64) % 64;
  for (int64_t b = 0; b < count; ++b) cache.blocks.push_back(static_cast<int32_t>(count - 1 - b));
  cache.keys = RandomFloats(kTokens * layout.kv_heads * layout.key_dim, 3);
  cache.values = RandomFloats(kTokens * layout.kv_heads * layout.value_dim, 4);
  std::vector<int64_t> slots;
  for (int64_t t = 0; t < kTokens; ++t) {
    slots.push_back(cache.blocks[static_cast<size_t>(t / kBlockTokens)] * kBlockTokens + t % kBlockTokens);
  }
  kernels.store_kv({cache.keys.data(), layout.kv_heads * layout.key_dim, cache.values.data(),
                    layout.kv_heads * layout.value_dim, slots, cache.pages},
                   pool);
  return cache;
}

struct Wanted {
  std::vector<double> out;
  double slack = 0;  // what weights that nearly lie between two integers may change
};

Wanted ByFormula(const Cache& cache, const float* q, int64_t kv_head, KeySpan span) {
  const KvLayout& layout = cache.layout;
  Wanted wanted{std::vector<double>(static_cast<size_t>(layout.value_dim), 0.0)};
  const std::vector<Int8Row> query = cache.Parts(q, kScale);
  std::vector<double> weights;
  std::vector<Int8Row> values;
  double largest = -1e300;
  for (int64_t j = span.begin; j < span.end; ++j) {
    const std::vector<Int8Row> key = cache.Parts(cache.key(j, kv_head));
    double score = 0;
    for (size_t part = 0; part < key.size(); ++part) {
      score += key[part].scale * query[part].scale * Dot(key[part].quants, query[part].quants);
    }
    weights.push_back(score);
    largest = std::max(largest, score);
    values.push_back(Quantized(cache.value(j, kv_head), layout.value_dim));
  }
  double total = 0;
  for (double& weight : weights) total += weight = std::exp(weight - largest);
  for (int64_t first = span.begin; first < span.end;) {
    const int64_t end = std::min<int64_t>(span.end, (first / kStepTokens + 1) * kStepTokens);
    double most = 0;
    for (int64_t j = first; j < end; ++j) {
      const size_t i = static_cast<size_t>(j - span.begin);
      most = std::max(most, weights[i] * values[i].scale);
    }
    const double unit = most / 255;
    for (int64_t j = first; j < end; ++j) {
      const size_t i = static_cast<size_t>(j - span.begin);
      const double exact = weights[i] * values[i].scale / unit;
      const double rounded = std::nearbyint(exact);
      if (std::fabs(std::fabs(exact - rounded) - 0.5) < 1e-3) wanted.slack += 127 * unit / total;
      for (size_t d = 0; d < wanted.out.size(); ++d) wanted.out[d] += unit * rounded * values[i].quants[d] / total;
    }
    first = end;
  }
  return wanted;
}

// How far the reference, which rounds neither queries nor weights, may be from the formula. A score moves by at most
// half a step of the query times the key's magnitudes, `moved` at most, and so a weight by a factor of e^moved and the
// divisor by another; a weight is off by half a unit, 1/510 of the largest of its kStepTokens.
double FromReference(const Cache& cache, const float* q, int64_t kv_head, KeySpan span) {
  const std::vector<Int8Row> query = cache.Parts(q, kScale);
  double moved = 0;
  double largest_value = 0;
  for (int64_t j = span.begin; j < span.end; ++j) {
    double here = 0;
    const std::vector<Int8Row> key = cache.Parts(cache.key(j, kv_head));
    for (size_t part = 0; part < key.size(); ++part) {
      double magnitudes = 0;
      for (const double quant : key[part].quants) magnitudes += std::fabs(quant) * key[part].scale;
      here += query[part].scale / 2 * magnitudes;
    }
    moved = std::max(moved, here);
    largest_value = std::max(largest_value, 127 * Quantized(cache.value(j, kv_head), cache.layout.value_dim).scale);
  }
  const double tokens = static_cast<double>(std::min<int64_t>(span.end - span.begin, kStepTokens));
  return (std::expm1(2 * moved) + tokens / 510) * largest_value;
}

const std::vector<KvLayout> kLayouts = {{1, 38, 31, KvType::kInt8, true},   {1, 33, 16, KvType::kInt8, true},
                                        {1, 576, 512, KvType::kInt8, true}, {1, 20, 20, KvType::kInt8, true},
                                        {3, 64, 64, KvType::kInt8, false},  {2, 192, 128, KvType::kInt8, false},
                                        {2, 33, 17, KvType::kInt8, false}};
const std::vector<KeySpan> kSpans = {{0, 1}, {77, 78}, {0, 700}, {500, 1100}, {7, 7}, {60, 70}};

struct Call {
  int64_t heads;
  std::vector<float> q;
  std::vector<float> out;

  Call(const KvLayout& layout, int64_t heads_of_query)
      : heads(heads_of_query),
        q(RandomFloats(static_cast<int64_t>(kSpans.size()) * heads * layout.key_dim, 9)),
        out(kSpans.size() * static_cast<size_t>(heads * layout.value_dim), std::nanf("")) {}
  void Run(const Cache& cache, const Kernels& kernels, ThreadPool& pool) {
    Run(cache, kernels, pool, kSpans, cache.blocks);
  }
  void Run(const Cache& cache, const Kernels& kernels, ThreadPool& pool, std::span<const KeySpan> spans,
           std::span<const int32_t> blocks) {
    const AttentionSequence sequence{0, std::ssize(spans), blocks};
    kernels.attention({.q = q.data(),
                       .q_stride = heads * cache.layout.key_dim,
                       .out = out.data(),
                       .out_stride = heads * cache.layout.value_dim,
                       .query_heads = heads,
                       .scale = kScale,
                       .pages = cache.pages,
                       .sequences = {&sequence, 1},
                       .spans = spans},
                      pool);
  }
};

TEST(Int8Attention, EqualsItsFormulas) {
  ThreadPool pool(2);
  for (const Kernels* kernels : FastTables()) {
    for (const KvLayout& layout : kLayouts) {
      const Cache cache = MakeCache(layout, *kernels, pool);
      Call call(layout, layout.latent ? 7 : 2 * layout.kv_heads);
      call.Run(cache, *kernels, pool);
      for (size_t row = 0; row < kSpans.size(); ++row) {
        for (int64_t h = 0; h < call.heads; ++h) {
          const int64_t line = static_cast<int64_t>(row) * call.heads + h;
          const Wanted want =
              ByFormula(cache, call.q.data() + line * layout.key_dim, h / (call.heads / layout.kv_heads), kSpans[row]);
          for (int64_t d = 0; d < layout.value_dim; ++d) {
            const double wanted = kSpans[row].begin < kSpans[row].end ? want.out[static_cast<size_t>(d)] : 0;
            // exp is within 2e-7, sums of fp32 with it, and values reach 4.
            ASSERT_NEAR(call.out[static_cast<size_t>(line * layout.value_dim + d)], wanted, 4e-6 + want.slack)
                << kernels->name << ", key " << layout.key_dim << ", row " << row << ", head " << h << ", dim " << d;
          }
        }
      }
    }
  }
}

TEST(Int8Attention, StaysAsNearTheReferenceAsItsSteps) {
  ThreadPool pool(2);
  for (const KvLayout& layout : kLayouts) {
    const Cache cache = MakeCache(layout, *FindKernels("reference"), pool);
    Call want(layout, layout.latent ? 7 : 2 * layout.kv_heads);
    want.Run(cache, *FindKernels("reference"), pool);
    for (const Kernels* kernels : FastTables()) {
      Call got(layout, want.heads);
      got.Run(cache, *kernels, pool);
      double squares = 0;
      double squares_wanted = 0;
      for (size_t row = 0; row < kSpans.size(); ++row) {
        for (int64_t h = 0; h < got.heads; ++h) {
          const int64_t line = static_cast<int64_t>(row) * got.heads + h;
          const double bound = kSpans[row].begin == kSpans[row].end
                                   ? 0
                                   : FromReference(cache, got.q.data() + line * layout.key_dim,
                                                   h / (got.heads / layout.kv_heads), kSpans[row]);
          for (int64_t d = 0; d < layout.value_dim; ++d) {
            const size_t at = static_cast<size_t>(line * layout.value_dim + d);
            ASSERT_NEAR(got.out[at], want.out[at], bound) << kernels->name << ", key " << layout.key_dim;
            squares += std::pow(got.out[at] - want.out[at], 2);
            squares_wanted += std::pow(want.out[at], 2);
          }
        }
      }
      // Steps of 1/254 of the largest, uniform: 0.3 % of a value whose largest is 2.5 times it; here 1 %.
      EXPECT_LT(std::sqrt(squares / squares_wanted), 0.01) << kernels->name << ", key " << layout.key_dim;
    }
  }
}

TEST(Int8Attention, BlocksThatNoRowSeesAreNotLookedAt) {
  ThreadPool pool(2);
  for (const Kernels* kernels : FastTables()) {
    for (const KvLayout& layout : kLayouts) {
      const Cache cache = MakeCache(layout, *kernels, pool);
      Call all(layout, 2 * layout.kv_heads);
      all.Run(cache, *kernels, pool);
      for (size_t row = 0; row < kSpans.size(); ++row) {
        std::vector<int32_t> blocks = cache.blocks;
        for (int64_t b = 0; b < std::ssize(blocks); ++b) {
          const bool seen = b * kBlockTokens < kSpans[row].end && (b + 1) * kBlockTokens > kSpans[row].begin;
          if (!seen) blocks[static_cast<size_t>(b)] = -1;
        }
        Call one(layout, all.heads);
        const int64_t q_width = all.heads * layout.key_dim;
        const int64_t width = all.heads * layout.value_dim;
        one.q.assign(all.q.begin() + static_cast<int64_t>(row) * q_width, all.q.end());
        one.Run(cache, *kernels, pool, {kSpans.data() + row, 1}, blocks);
        ASSERT_TRUE(
            std::equal(one.out.begin(), one.out.begin() + width, all.out.begin() + static_cast<int64_t>(row) * width))
            << kernels->name << ", key " << layout.key_dim << ", row " << row;
      }
    }
  }
}

TEST(Int8Attention, LoadGivesBackHalfASteps) {
  ThreadPool pool(2);
  const KvLayout layout{1, 38, 31, KvType::kInt8, true};
  const Cache cache = MakeCache(layout, *FindKernels("auto"), pool);
  std::vector<float> out(300 * 40, -1.0f);
  LoadLatents(
      {.pages = cache.pages, .blocks = cache.blocks, .first = 70, .count = 300, .out = out.data(), .out_stride = 40},
      pool);
  for (int64_t t = 0; t < 300; ++t) {
    const std::vector<Int8Row> parts = cache.Parts(cache.key(70 + t, 0));
    for (int64_t d = 0; d < 38; ++d) {
      ASSERT_NEAR(out[static_cast<size_t>(t * 40 + d)], cache.key(70 + t, 0)[d], parts[d < 31 ? 0 : 1].scale * 0.50001);
    }
    ASSERT_EQ(out[static_cast<size_t>(t * 40 + 38)], -1.0f);
  }
}

// Zeros have scale zero; what is not finite makes the rows that see it, and no others, NaN.
TEST(Int8Attention, ZerosAndInfinities) {
  ThreadPool pool(2);
  for (const Kernels* kernels : AvailableKernels()) {
    const KvLayout layout{1, 38, 31, KvType::kInt8, true};
    const Cache cache = MakeCache(layout, *kernels, pool);
    std::vector<float> row(38, 0.0f);
    const int64_t slot = int64_t{cache.blocks[0]} * kBlockTokens + 65 % kBlockTokens;
    kernels->store_kv({row.data(), 38, nullptr, 0, {&slot, 1}, cache.pages}, pool);
    Call call(layout, 3);
    call.Run(cache, *kernels, pool);
    for (const float x : call.out) ASSERT_TRUE(std::isfinite(x)) << kernels->name;
    row[5] = std::numeric_limits<float>::infinity();
    const int64_t bad = int64_t{cache.blocks[1]} * kBlockTokens + 2;  // position 66: rows 2 and 5 see it
    kernels->store_kv({row.data(), 38, nullptr, 0, {&bad, 1}, cache.pages}, pool);
    call.Run(cache, *kernels, pool);
    for (size_t i = 0; i < call.out.size(); ++i) {
      const size_t r = i / (3 * 31);
      ASSERT_EQ(std::isfinite(call.out[i]), r != 2 && r != 5) << kernels->name << ", row " << r;
    }
  }
}

}  // namespace
}  // namespace gannet
