// Scores of sparse attention's indexer for one block of keys.
#include <cstddef>
#include <cstdint>

#include "kernels/cpu/target_setup.h"
#include "kernels/cpu/targets.h"
#include "kernels/kv_block.h"

// clang-format off
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/index_scores.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
#include "kernels/cpu/lanes-inl.h"
#include "kernels/cpu/score_rows-inl.h"
// clang-format on

#if GANNET_IS_FAST
HWY_BEFORE_NAMESPACE();
namespace gannet::HWY_NAMESPACE {
namespace {

template <typename T, int R>
HWY_NOINLINE void AddHeads(const float* q, const float* weights, const T* rows, int64_t row_dim, int64_t from,
                           int64_t to, float* sums) {
  alignas(64) float scores[R * kBlockTokens];
  for (int64_t j = from / 16 * 16; j < (to + 15) / 16 * 16; ++j) {
    if (j >= from && j < to) continue;
    for (int r = 0; r < R; ++r) scores[r * kBlockTokens + j] = 0;
  }
  ScoreRows<T, R>(q, rows, row_dim, from, to, scores);
  for (int64_t j = from / 16 * 16; j < to; j += 16) {
    F32x16 sum = Load(sums + j);
    for (int r = 0; r < R; ++r) {
      sum = MulAdd(Broadcast(weights[r]), Max(Load(scores + r * kBlockTokens + j), Broadcast(0)), sum);
    }
    Store(sum, sums + j);
  }
}

// Adds to sums[from, to) what the block's keys score.
template <typename T>
void ScoresOf(const float* q, const float* weights, int64_t heads, const KvLayout& layout, const std::byte* block,
              int64_t from, int64_t to, float* sums) {
  const T* rows = reinterpret_cast<const T*>(block);
  const int64_t row_dim = PaddedKeyDim(layout);
  int64_t h = 0;
  for (; h + 4 <= heads; h += 4) AddHeads<T, 4>(q + h * row_dim, weights + h, rows, row_dim, from, to, sums);
  for (; h < heads; ++h) AddHeads<T, 1>(q + h * row_dim, weights + h, rows, row_dim, from, to, sums);
}

void Scores(const float* q, const float* weights, int64_t heads, const KvLayout& layout, const std::byte* block,
            int64_t from, int64_t to, float* scores) {
  alignas(64) float sums[kBlockTokens] = {};
  const float* scales = nullptr;
  float unit = 1;
  switch (layout.type) {
    case KvType::kF32:
      ScoresOf<float>(q, weights, heads, layout, block, from, to, sums);
      break;
    case KvType::kF16:
      ScoresOf<hwy::float16_t>(q, weights, heads, layout, block, from, to, sums);
      break;
    case KvType::kBF16:
      ScoresOf<hwy::bfloat16_t>(q, weights, heads, layout, block, from, to, sums);
      break;
    case KvType::kFp8:
      ScoresOf<KvE4M3>(q, weights, heads, layout, block, from, to, sums);
      unit = kE4M3Unit;
      break;
    case KvType::kInt8:  // a scale is not negative, and goes through max(0, .)
      ScoresOf<int8_t>(q, weights, heads, layout, block, from, to, sums);
      scales =
          reinterpret_cast<const float*>(block + ScaleOffset(layout, 0)) + KeyParts(layout)[1].scale * kBlockTokens;
      break;
  }
  for (int64_t j = from; j < to; ++j) scores[j - from] = sums[j] * (scales ? scales[j] : unit);
}

}  // namespace

extern const IndexScoresOfBlock kIndexScores = Scores;

}  // namespace gannet::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif  // GANNET_IS_FAST
