// Attention on a latent layout, softmax carried over pieces, sinks: every table against plain loops.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "kernels/test_support.h"

namespace gannet {
namespace {

using namespace testing_support;

constexpr int64_t kTokens = 1100;  // three pieces

struct Latents {
  std::vector<std::byte> memory;
  std::vector<int32_t> blocks;
  std::vector<float> rows;  // [kTokens, key_dim]
  KvPages pages;
};

// Tokens 0.. in blocks out of order; what holds no token is NaN.
Latents MakeLatents(int64_t key_dim, int64_t value_dim, const Kernels& kernels, ThreadPool& pool) {
  Latents latents;
  latents.pages.layout = {1, key_dim, value_dim, KvType::kF32, /*latent=*/true};
  latents.pages.block_stride = latents.pages.layout.block_bytes();
  const int64_t count = (kTokens + kBlockTokens - 1) / kBlockTokens;
  latents.memory.assign(static_cast<size_t>(count * latents.pages.block_stride + 64), std::byte{0xff});
  latents.pages.base = latents.memory.data() + (64 - reinterpret_cast<uintptr_t>(latents.memory.data()) % 64) % 64;
  for (int64_t b = 0; b < count; ++b) latents.blocks.push_back(static_cast<int32_t>(count - 1 - b));
  latents.rows = RandomFloats(kTokens * key_dim, 3, 0.3f);
  std::vector<int64_t> slots;
  for (int64_t t = 0; t < kTokens; ++t) {
    slots.push_back(latents.blocks[static_cast<size_t>(t / kBlockTokens)] * kBlockTokens + t % kBlockTokens);
  }
  kernels.store_kv({.keys = latents.rows.data(), .key_stride = key_dim, .slots = slots, .pages = latents.pages}, pool);
  return latents;
}

std::vector<double> Plain(const Latents& latents, const float* q, KeySpan span, float scale, const float* sink) {
  const KvLayout& layout = latents.pages.layout;
  std::vector<double> out(static_cast<size_t>(layout.value_dim), 0.0);
  double total = sink ? std::exp(static_cast<double>(*sink)) : 0;
  for (int64_t j = span.begin; j < span.end; ++j) {
    const float* row = latents.rows.data() + j * layout.key_dim;
    double score = 0;
    for (int64_t d = 0; d < layout.key_dim; ++d) score += static_cast<double>(q[d]) * row[d];
    const double weight = std::exp(score * scale);
    total += weight;
    for (int64_t d = 0; d < layout.value_dim; ++d) out[static_cast<size_t>(d)] += weight * row[d];
  }
  for (double& value : out) value = span.begin < span.end ? value / total : 0;
  return out;
}

AttentionArgs ArgsOf(const Latents& latents, int64_t heads, const std::vector<float>& q,
                     const AttentionSequence& sequence, const std::vector<KeySpan>& spans, std::vector<float>& out) {
  const KvLayout& layout = latents.pages.layout;
  return {.q = q.data(),
          .q_stride = heads * layout.key_dim,
          .out = out.data(),
          .out_stride = heads * layout.value_dim,
          .query_heads = heads,
          .scale = 0.2f,
          .pages = latents.pages,
          .sequences = {&sequence, 1},
          .spans = spans};
}

TEST(LatentAttention, AnyNumberOfHeadsEqualsPlainLoops) {
  ThreadPool one(1);
  ThreadPool two(2);
  for (const Kernels* kernels : AvailableKernels()) {
    for (const int64_t heads : {1, 3, 5, 10, 20, 64, 128, 130}) {
      const int64_t key_dim = heads % 2 == 0 ? 38 : 33;
      const int64_t value_dim = heads % 2 == 0 ? 31 : 16;
      const Latents latents = MakeLatents(key_dim, value_dim, *kernels, one);
      const std::vector<KeySpan> spans{{0, 1}, {0, 700}, {500, 1100}, {7, 7}};
      const int64_t rows = static_cast<int64_t>(spans.size());
      const std::vector<float> q = RandomFloats(rows * heads * key_dim, 9);
      const std::vector<float> sinks = RandomFloats(heads, 11);
      const AttentionSequence sequence{0, rows, latents.blocks};
      for (const bool with_sinks : {false, true}) {
        std::vector<float> out(static_cast<size_t>(rows * heads * value_dim), std::nanf(""));
        AttentionArgs args = ArgsOf(latents, heads, q, sequence, spans, out);
        args.sinks = with_sinks ? sinks.data() : nullptr;
        args.value_scale = 0.7f;
        kernels->attention(args, one);
        for (int64_t r = 0; r < rows; ++r) {
          for (int64_t h = 0; h < heads; ++h) {
            const float* sink = with_sinks ? &sinks[static_cast<size_t>(h)] : nullptr;
            const auto want =
                Plain(latents, q.data() + (r * heads + h) * key_dim, spans[static_cast<size_t>(r)], 0.2f, sink);
            for (int64_t d = 0; d < value_dim; ++d) {
              ASSERT_NEAR(out[static_cast<size_t>((r * heads + h) * value_dim + d)], 0.7 * want[static_cast<size_t>(d)],
                          2e-6)
                  << kernels->name << ", " << heads << " heads, row " << r;
            }
          }
        }
        std::vector<float> again(out.size());
        args.out = again.data();
        kernels->attention(args, two);
        EXPECT_TRUE(SameBits(out, again)) << kernels->name << ", " << heads << " heads";
      }
    }
  }
}

TEST(LatentAttention, CarriedPiecesGiveTheBitsOfOneCall) {
  ThreadPool pool(2);
  constexpr int64_t kHeads = 5, kKey = 20, kValue = 12;
  for (const Kernels* kernels : FastTables()) {
    const Latents latents = MakeLatents(kKey, kValue, *kernels, pool);
    const std::vector<KeySpan> spans{{0, 3}, {0, 513}, {500, 1100}, {600, 1030}, {9, 9}};
    const int64_t rows = static_cast<int64_t>(spans.size());
    const std::vector<float> q = RandomFloats(rows * kHeads * kKey, 9);
    const AttentionSequence sequence{0, rows, latents.blocks};
    std::vector<float> whole(static_cast<size_t>(rows * kHeads * kValue));
    std::vector<float> pieces(whole.size());
    std::vector<float> carry(static_cast<size_t>(rows * kHeads * AttentionCarry(latents.pages.layout)), 0.0f);
    AttentionArgs args = ArgsOf(latents, kHeads, q, sequence, spans, whole);
    kernels->attention(args, pool);
    args.out = pieces.data();
    args.carry = carry.data();
    for (int32_t first = 0; first < kTokens; first += static_cast<int32_t>(kPieceTokens)) {
      std::vector<KeySpan> seen = spans;
      for (KeySpan& span : seen) {
        span.begin = std::max(span.begin, first);
        span.end = std::min(span.end, first + static_cast<int32_t>(kPieceTokens));
      }
      args.spans = seen;
      kernels->attention(args, pool);
    }
    EXPECT_TRUE(SameBits(whole, pieces)) << kernels->name;
  }
}

TEST(LatentAttention, LoadGivesBackWhatWasStored) {
  ThreadPool pool(2);
  const Latents latents = MakeLatents(20, 12, *AvailableKernels().front(), pool);
  std::vector<float> out(300 * 21, -1.0f);
  LoadLatents({.pages = latents.pages,
               .blocks = latents.blocks,
               .first = 70,
               .count = 300,
               .out = out.data(),
               .out_stride = 21},
              pool);
  for (size_t t = 0; t < 300; ++t) {
    ASSERT_EQ(std::memcmp(out.data() + t * 21, latents.rows.data() + (t + 70) * 20, 20 * sizeof(float)), 0);
    ASSERT_EQ(out[t * 21 + 20], -1.0f);
  }
}

}  // namespace
}  // namespace gannet
