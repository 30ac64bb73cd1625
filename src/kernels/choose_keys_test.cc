// Which keys sparse attention chooses, and attention to them: every table against plain loops.
#include "kernels/choose_keys.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <numeric>

#include "kernels/test_support.h"

namespace gannet {
namespace {

using namespace testing_support;

struct Cache {
  std::vector<std::byte> memory;
  std::vector<int32_t> blocks;
  KvPages pages;
};

// `rows` [tokens, key_dim] in blocks out of order; what holds no token is NaN.
Cache MakeCache(const std::vector<float>& rows, KvLayout layout, const Kernels& kernels, ThreadPool& pool) {
  Cache cache;
  cache.pages.layout = layout;
  cache.pages.block_stride = layout.block_bytes();
  const int64_t tokens = static_cast<int64_t>(rows.size()) / layout.key_dim;
  const int64_t count = (tokens + kBlockTokens - 1) / kBlockTokens;
  cache.memory.assign(static_cast<size_t>(count * cache.pages.block_stride + 64), std::byte{0xff});
  cache.pages.base = cache.memory.data() + (64 - reinterpret_cast<uintptr_t>(cache.memory.data()) % 64) % 64;
  for (int64_t b = 0; b < count; ++b) cache.blocks.push_back(static_cast<int32_t>(count - 1 - b));
  std::vector<int64_t> slots;
  for (int64_t t = 0; t < tokens; ++t) {
    slots.push_back(cache.blocks[static_cast<size_t>(t / kBlockTokens)] * kBlockTokens + t % kBlockTokens);
  }
  kernels.store_kv({.keys = rows.data(), .key_stride = layout.key_dim, .slots = slots, .pages = cache.pages}, pool);
  return cache;
}

struct Choice {
  std::vector<int32_t> positions;
  std::vector<int32_t> counts;
  ChosenKeys out;
  Choice(int64_t rows, int64_t top_k)
      : positions(static_cast<size_t>(rows * top_k), -1), counts(static_cast<size_t>(rows), -1) {
    out = {positions.data(), counts.data(), top_k};
  }
  std::vector<int32_t> of(int64_t row) const {
    const std::span<const int32_t> chosen = out.of(row);
    return {chosen.begin(), chosen.end()};
  }
};

// Integers, so that every order of additions gives the same score and equal scores are equal.
std::vector<float> SmallIntegers(int64_t count, uint32_t seed) {
  std::vector<float> values = RandomFloats(count, seed, 2.0f);
  for (float& value : values) value = std::round(value);
  return values;
}

std::vector<int32_t> PlainChoice(const std::vector<float>& keys, int64_t dim, const float* q, const float* weights,
                                 int64_t heads, KeySpan span, int64_t top_k) {
  std::vector<std::pair<double, int32_t>> ranked;
  for (int32_t j = span.begin; j < span.end; ++j) {
    double score = 0;
    for (int64_t h = 0; h < heads; ++h) {
      double product = 0;
      for (int64_t d = 0; d < dim; ++d) product += q[h * dim + d] * keys[static_cast<size_t>(j * dim + d)];
      score += weights[h] * std::max(product, 0.0);
    }
    ranked.emplace_back(-score, j);
  }
  std::ranges::sort(ranked);
  ranked.resize(std::min(ranked.size(), static_cast<size_t>(top_k)));
  std::vector<int32_t> chosen;
  for (const auto& [score, j] : ranked) chosen.push_back(j);
  std::ranges::sort(chosen);
  return chosen;
}

TEST(ChooseKeys, EqualsPlainLoopsWithTiesToTheLowerPositions) {
  ThreadPool one(1);
  ThreadPool two(2);
  constexpr int64_t kTokens = 700;
  const std::vector<KeySpan> spans{{0, 1}, {0, 9}, {0, 10}, {0, 64}, {0, 65}, {70, 300}, {0, 700}, {5, 5}, {3, 699}};
  const int64_t rows = static_cast<int64_t>(spans.size());
  for (const Kernels* kernels : AvailableKernels()) {
    for (const auto& [heads, dim] : {std::pair<int64_t, int64_t>{1, 3}, {3, 16}, {4, 20}, {9, 33}, {64, 128}}) {
      const std::vector<float> keys = SmallIntegers(kTokens * dim, 3);
      const std::vector<float> q = SmallIntegers(rows * heads * dim, 4);
      const std::vector<float> weights = SmallIntegers(rows * heads, 5);
      const Cache cache = MakeCache(keys, {1, dim, 0, KvType::kF32, /*latent=*/true}, *kernels, one);
      const AttentionSequence sequence{0, rows, cache.blocks};
      for (const int64_t top_k : {1, 9, 64, 200}) {
        Choice choice(rows, top_k);
        Choice again(rows, top_k);
        ChooseKeysArgs args{.q = q.data(),
                            .q_stride = heads * dim,
                            .weights = weights.data(),
                            .weights_stride = heads,
                            .heads = heads,
                            .top_k = top_k,
                            .pages = cache.pages,
                            .sequences = {&sequence, 1},
                            .spans = spans,
                            .out = choice.out};
        kernels->choose_keys(args, one);
        args.out = again.out;
        kernels->choose_keys(args, two);
        for (int64_t r = 0; r < rows; ++r) {
          EXPECT_EQ(choice.of(r), PlainChoice(keys, dim, q.data() + r * heads * dim, weights.data() + r * heads, heads,
                                              spans[static_cast<size_t>(r)], top_k))
              << kernels->name << ", " << heads << " heads of " << dim << ", row " << r << ", top " << top_k;
          EXPECT_EQ(choice.of(r), again.of(r));
        }
      }
    }
  }
}

TEST(ChooseKeys, AllEqualScoresChooseTheFirst) {
  std::vector<int32_t> first(50);
  std::iota(first.begin(), first.end(), 10);
  for (const float score : {0.0f, -3.5f, -std::numeric_limits<float>::infinity()}) {
    std::vector<float> scores(300, score);
    if (score == 0) scores[7] = -0.0f;
    Choice choice(1, 50);
    ChooseBest(scores, {10, 310}, 50, 0, choice.out);
    EXPECT_EQ(choice.of(0), first) << score;
  }
}

TEST(ChooseKeys, NanIsBelowEveryNumber) {
  std::vector<float> scores(8, std::nanf(""));
  scores[6] = -std::numeric_limits<float>::infinity();
  scores[3] = -1;
  Choice choice(1, 3);
  ChooseBest(scores, {0, 8}, 3, 0, choice.out);
  EXPECT_EQ(choice.of(0), (std::vector<int32_t>{0, 3, 6}));
}

// Attention to chosen keys has the bits of attention to a cache that holds these keys and no other.
TEST(ChosenKeys, AttendAsIfNothingElseWereThere) {
  ThreadPool one(1);
  ThreadPool two(2);
  constexpr int64_t kTokens = 1300, kHeads = 6, kKey = 20, kValue = 12;
  for (const Kernels* kernels : AvailableKernels()) {
    for (const KvType type : {KvType::kF32, KvType::kBF16, KvType::kFp8, KvType::kInt8}) {
      const KvLayout layout{1, kKey, kValue, type, /*latent=*/true};
      const std::vector<float> keys = RandomFloats(kTokens * kKey, 3, 0.4f);
      const Cache cache = MakeCache(keys, layout, *kernels, one);
      const std::vector<int64_t> counts{0, 1, 64, 65, 700};
      const int64_t rows = static_cast<int64_t>(counts.size());
      const std::vector<float> q = RandomFloats(rows * kHeads * kKey, 9);
      Choice choice(rows, 700);
      for (int64_t r = 0; r < rows; ++r) {
        choice.counts[static_cast<size_t>(r)] = static_cast<int32_t>(counts[static_cast<size_t>(r)]);
        for (int64_t i = 0; i < counts[static_cast<size_t>(r)]; ++i) {
          choice.positions[static_cast<size_t>(r * 700 + i)] = static_cast<int32_t>(i * (kTokens - rows) / 700 + r);
        }
      }
      std::vector<float> out(static_cast<size_t>(rows * kHeads * kValue), std::nanf(""));
      std::vector<float> again(out.size());
      const AttentionSequence sequence{0, rows, cache.blocks};
      AttentionArgs args{.q = q.data(),
                         .q_stride = kHeads * kKey,
                         .out = out.data(),
                         .out_stride = kHeads * kValue,
                         .query_heads = kHeads,
                         .scale = 0.3f,
                         .pages = cache.pages,
                         .sequences = {&sequence, 1},
                         .chosen = &choice.out};
      kernels->attention(args, one);
      args.out = again.data();
      kernels->attention(args, two);
      EXPECT_TRUE(SameBits(out, again)) << kernels->name;
      for (int64_t r = 0; r < rows; ++r) {
        std::vector<float> packed;
        for (const int32_t j : choice.of(r)) {
          packed.insert(packed.end(), keys.begin() + j * kKey, keys.begin() + (j + 1) * kKey);
        }
        const Cache alone = MakeCache(packed, layout, *kernels, one);
        const std::vector<KeySpan> span{{0, static_cast<int32_t>(counts[static_cast<size_t>(r)])}};
        const AttentionSequence single{0, 1, alone.blocks};
        std::vector<float> want(static_cast<size_t>(kHeads * kValue));
        AttentionArgs plain = args;
        plain.q = q.data() + r * kHeads * kKey;
        plain.out = want.data();
        plain.pages = alone.pages;
        plain.sequences = {&single, 1};
        plain.spans = span;
        plain.chosen = nullptr;
        kernels->attention(plain, one);
        const std::vector<float> got(out.begin() + r * kHeads * kValue, out.begin() + (r + 1) * kHeads * kValue);
        EXPECT_TRUE(SameBits(got, want)) << kernels->name << ", " << counts[static_cast<size_t>(r)] << " keys";
      }
    }
  }
}

}  // namespace
}  // namespace gannet
