// Products of fp32 rows with tiles of fp32, fp16, bf16 and bytes with a scale of each k: out = fma(w[k], x[k], out) for
// k in order.
#include <cstddef>
#include <cstdint>

#include "kernels/cpu/matmul_leaves.h"
#include "kernels/cpu/target_setup.h"
#include "kernels/cpu/targets.h"

// clang-format off
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/matmul_float.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
#include "kernels/cpu/lanes-inl.h"
// clang-format on

#if GANNET_IS_FAST
HWY_BEFORE_NAMESPACE();
namespace gannet::HWY_NAMESPACE {
namespace {

#if HWY_TARGET == HWY_AVX3
constexpr int kMaxRows = 8;
#else
constexpr int kMaxRows = 4;
#endif
constexpr int64_t kPrefetchBytes = 2048;

// H halves of 16 weight rows of the tile, R rows of x out of `rows`; `scales` of bytes alone.
template <typename T, int R, int H>
HWY_NOINLINE void Rows(const T* weights, const float* scales, int64_t k, const float* x, int rows, float* sums) {
  F32x16 total[R][H];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 2
    for (int h = 0; h < H; ++h) total[r][h] = Load(sums + r * kTileRows + 16 * h);
  }
#pragma GCC unroll 2
  for (int64_t i = 0; i < k; ++i, weights += kTileRows, x += rows) {
    {
      const std::byte* ahead = reinterpret_cast<const std::byte*>(weights) + kPrefetchBytes;
      for (size_t line = 0; line < kTileRows * sizeof(T); line += 64) __builtin_prefetch(ahead + line);
    }
    F32x16 w[H];
#pragma GCC unroll 2
    for (int h = 0; h < H; ++h) w[h] = Load(weights + 16 * h);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const F32x16 factor = Broadcast(sizeof(T) == 1 ? x[r] * scales[i] : x[r]);
#pragma GCC unroll 2
      for (int h = 0; h < H; ++h) total[r][h] = MulAdd(w[h], factor, total[r][h]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 2
    for (int h = 0; h < H; ++h) Store(total[r][h], sums + r * kTileRows + 16 * h);
  }
}

template <typename T, int R>
void Pass(const T* weights, const float* scales, int64_t k, const float* x, int rows, float* sums) {
  if constexpr (R <= 2 || kLanes == 16) {
    Rows<T, R, 2>(weights, scales, k, x, rows, sums);
  } else {  // 16 registers hold R x 16 sums
    Rows<T, R, 1>(weights, scales, k, x, rows, sums);
    Rows<T, R, 1>(weights + 16, scales, k, x, rows, sums + 16);
  }
}

template <typename T>
void TileOf(const std::byte* data, const float* scales, const float* x, int64_t first, int64_t last, int rows,
            float* sums) {
  scales += first;
  const T* weights = reinterpret_cast<const T*>(data) + first * kTileRows;
  const int64_t k = last - first;
  x += first * rows;
  for (int offset = 0; offset < rows; offset += kMaxRows) {
    float* to = sums + offset * kTileRows;
    switch (rows - offset < kMaxRows ? rows - offset : kMaxRows) {
      case 1:
        Pass<T, 1>(weights, scales, k, x + offset, rows, to);
        break;
      case 2:
        Pass<T, 2>(weights, scales, k, x + offset, rows, to);
        break;
      case 3:
        Pass<T, 3>(weights, scales, k, x + offset, rows, to);
        break;
      case 4:
        Pass<T, 4>(weights, scales, k, x + offset, rows, to);
        break;
#if HWY_TARGET == HWY_AVX3
      case 5:
        Pass<T, 5>(weights, scales, k, x + offset, rows, to);
        break;
      case 6:
        Pass<T, 6>(weights, scales, k, x + offset, rows, to);
        break;
      case 7:
        Pass<T, 7>(weights, scales, k, x + offset, rows, to);
        break;
      case 8:
        Pass<T, 8>(weights, scales, k, x + offset, rows, to);
        break;
#endif
    }
  }
}

void Tile(TileKind kind, const std::byte* weights, const float* x, int64_t first, int64_t last, int64_t k, int rows,
          float* sums) {
  const float* scales = reinterpret_cast<const float*>(weights);
  if (kind == TileKind::kF32) return TileOf<float>(weights, scales, x, first, last, rows, sums);
  if (kind == TileKind::kF16) return TileOf<hwy::float16_t>(weights, scales, x, first, last, rows, sums);
  if (kind == TileKind::kBF16) return TileOf<hwy::bfloat16_t>(weights, scales, x, first, last, rows, sums);
  if (kind == TileKind::kI8) return TileOf<int8_t>(weights + k * 4, scales, x, first, last, rows, sums);
  TileOf<E4M3>(weights + k * 4, scales, x, first, last, rows, sums);
}

}  // namespace

extern const FloatLeaves kFloatLeaves = {Tile};

}  // namespace gannet::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif  // GANNET_IS_FAST
