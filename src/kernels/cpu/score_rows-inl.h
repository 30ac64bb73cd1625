// Products of queries with the rows of a latent block.
#if defined(GANNET_KERNELS_CPU_SCORE_ROWS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GANNET_KERNELS_CPU_SCORE_ROWS_INL_H_
#undef GANNET_KERNELS_CPU_SCORE_ROWS_INL_H_
#else
#define GANNET_KERNELS_CPU_SCORE_ROWS_INL_H_
#endif

#include "kernels/attention.h"
#include "kernels/cpu/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gannet::HWY_NAMESPACE {
namespace {

// Lines and tokens whose sums fill the registers.
constexpr int kScoreLines = kLanes == 16 ? 4 : 2;
constexpr int kScoreTokens = kLanes == 16 ? 4 : kLanes == 8 ? 3 : 2;

template <typename T, int L, int J>
HWY_INLINE void ScoreSome(const float* q, const T* rows, int64_t row_dim, float* scores) {
  F32x16 sum[L][J];
#pragma GCC unroll 4
  for (int l = 0; l < L; ++l) {
#pragma GCC unroll 4
    for (int j = 0; j < J; ++j) sum[l][j] = Broadcast(0);
  }
  for (int64_t d = 0; d < row_dim; d += 16) {
#pragma GCC unroll 4
    for (int i = 0; i < kParts; ++i) {
      FloatVec key[J];
#pragma GCC unroll 4
      for (int j = 0; j < J; ++j) key[j] = LoadPart(rows + j * row_dim + d, i);
#pragma GCC unroll 4
      for (int l = 0; l < L; ++l) {
        const FloatVec factor = hn::LoadU(FloatTag(), q + l * row_dim + d + i * kLanes);
#pragma GCC unroll 4
        for (int j = 0; j < J; ++j) sum[l][j].part[i] = hn::MulAdd(factor, key[j], sum[l][j].part[i]);
      }
    }
  }
#pragma GCC unroll 4
  for (int l = 0; l < L; ++l) {
#pragma GCC unroll 4
    for (int j = 0; j < J; ++j) scores[l * kBlockTokens + j] = SumOfLanes(sum[l][j]);
  }
}

template <typename T, int L>
HWY_INLINE void ScoreLines(const float* q, const T* rows, int64_t row_dim, int64_t from, int64_t to, float* scores) {
  int64_t j = from;
  for (; j + kScoreTokens <= to; j += kScoreTokens) {
    ScoreSome<T, L, kScoreTokens>(q, rows + j * row_dim, row_dim, scores + j);
  }
  for (; j < to; ++j) ScoreSome<T, L, 1>(q, rows + j * row_dim, row_dim, scores + j);
}

// scores[r][j] = q[r] . row j of a latent block, for tokens [from, to) and R lines; row_dim is a multiple of 16.
template <typename T, int R>
HWY_INLINE void ScoreRows(const float* q, const T* rows, int64_t row_dim, int64_t from, int64_t to, float* scores) {
  constexpr int kTogether = R < kScoreLines ? R : kScoreLines;
  for (int r = 0; r + kTogether <= R; r += kTogether) {
    ScoreLines<T, kTogether>(q + r * row_dim, rows, row_dim, from, to, scores + r * kBlockTokens);
  }
  if constexpr (R % kTogether != 0) {
    constexpr int kFirst = R - R % kTogether;
    ScoreLines<T, R % kTogether>(q + kFirst * row_dim, rows, row_dim, from, to, scores + kFirst * kBlockTokens);
  }
}

}  // namespace
}  // namespace gannet::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
