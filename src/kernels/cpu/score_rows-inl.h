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

// scores[r][j] = q[r] . row j of a latent block, for tokens [from, to) and R lines; row_dim is a multiple of 16.
template <typename T, int R>
HWY_INLINE void ScoreRows(const float* q, const T* rows, int64_t row_dim, int64_t from, int64_t to, float* scores) {
  for (int64_t j = from; j < to; ++j) {
    F32x16 sum[R];
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) sum[r] = Broadcast(0);
    for (int64_t d = 0; d < row_dim; d += 16) {
      const F32x16 key = Load(rows + j * row_dim + d);
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r) sum[r] = MulAdd(Load(q + r * row_dim + d), key, sum[r]);
    }
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) scores[r * kBlockTokens + j] = SumOfLanes(sum[r]);
  }
}

}  // namespace
}  // namespace gannet::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
