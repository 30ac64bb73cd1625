// Products of fp32 rows with tiles of fp32, fp16, bf16 and bytes with a scale of each k: out = fma(w[k], x[k], out) for
// k in order.
#include <algorithm>
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

// H halves of 16 weight rows of the tile, R rows of x out of `rows`.
template <typename T, int R, int H>
HWY_NOINLINE void Rows(const T* weights, int64_t k, const float* x, int rows, float* sums) {
  F32x16 total[R][H];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 2
    for (int h = 0; h < H; ++h) total[r][h] = Load(sums + r * kTileRows + 16 * h);
  }
#pragma GCC unroll 2
  for (int64_t i = 0; i < k; ++i, weights += kTileRows, x += rows) {
    {
      const std::byte* ahead = reinterpret_cast<const std::byte*>(weights) + kSoonBytes;
      for (size_t line = 0; line < kTileRows * sizeof(T); line += 64) __builtin_prefetch(ahead + line);
    }
    F32x16 w[H];
#pragma GCC unroll 2
    for (int h = 0; h < H; ++h) w[h] = Load(weights + 16 * h);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const F32x16 factor = Broadcast(x[r]);
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
void Pass(const T* weights, int64_t k, const float* x, int rows, float* sums) {
  if constexpr (R <= 2 || kLanes == 16) {
    Rows<T, R, 2>(weights, k, x, rows, sums);
  } else {  // 16 registers hold R x 16 sums
    Rows<T, R, 1>(weights, k, x, rows, sums);
    Rows<T, R, 1>(weights + 16, k, x, rows, sums + 16);
  }
}

// R rows of x out of `rows`, or all `left` of them.
template <typename T, int R>
HWY_INLINE void PassOf(int left, const T* weights, int64_t k, const float* x, int rows, float* sums) {
  if (left >= R) return Pass<T, R>(weights, k, x, rows, sums);
  if constexpr (R > 1) PassOf<T, R - 1>(left, weights, k, x, rows, sums);
}

template <typename T>
void Passes(const T* weights, int64_t k, const float* x, int rows, float* sums) {
  for (int offset = 0; offset < rows; offset += kMaxRows) {
    PassOf<T, kMaxRows>(rows - offset, weights, k, x + offset, rows, sums + offset * kTileRows);
  }
}

template <typename T>
void TileOf(const std::byte* data, const float* x, int64_t first, int64_t last, int rows, float* sums) {
  Passes(reinterpret_cast<const T*>(data) + first * kTileRows, last - first, x + first * rows, rows, sums);
}

// to[i][r] = x[i][r] * scales[i] for i < k, and what comes after the last of them; reads as far beyond x.
HWY_INLINE void ScaleRows(const float* x, const float* scales, int64_t k, int rows, float* to) {
  if (rows == 1) {
    for (int64_t i = 0; i < k; ++i) to[i] = x[i] * scales[i];
    return;
  }
  const hn::CappedTag<float, kFloatsTogether> tag;
  const int step = static_cast<int>(hn::Lanes(tag));
  // Vectors reach into the rows of the next k, which come later, or with a lower r.
  for (int r = (rows - 1) / step * step; r >= 0; r -= step) {
#pragma GCC unroll 4
    for (int64_t i = 0; i < k; ++i) {
      hn::StoreU(hn::Mul(hn::LoadU(tag, x + i * rows + r), hn::Set(tag, scales[i])), tag, to + i * rows + r);
    }
  }
}

// Bytes whose scale changes with k: what multiplies them is x * scale.
template <typename T>
void ScaledTileOf(const std::byte* data, const float* x, int64_t first, int64_t last, int64_t k, int rows,
                  float* sums) {
  constexpr int64_t kMost = 256;
  const float* scales = reinterpret_cast<const float*>(data);
  const T* weights = reinterpret_cast<const T*>(data + k * sizeof(float));
  alignas(64) float scaled[kMost * kRowTileOfAmx + kFloatsTogether];
  for (int64_t from = first; from < last; from += kMost) {
    const int64_t count = std::min(kMost, last - from);
    ScaleRows(x + from * rows, scales + from, count, rows, scaled);
    Passes(weights + from * kTileRows, count, scaled, rows, sums);
  }
}

void Tile(TileKind kind, const std::byte* weights, const float* x, int64_t first, int64_t last, int64_t k, int rows,
          float* sums) {
  if (kind == TileKind::kF32) return TileOf<float>(weights, x, first, last, rows, sums);
  if (kind == TileKind::kF16) return TileOf<hwy::float16_t>(weights, x, first, last, rows, sums);
  if (kind == TileKind::kBF16) return TileOf<hwy::bfloat16_t>(weights, x, first, last, rows, sums);
  if (kind == TileKind::kI8) return ScaledTileOf<int8_t>(weights, x, first, last, k, rows, sums);
  ScaledTileOf<E4M3>(weights, x, first, last, k, rows, sums);
}

}  // namespace

extern const FloatLeaves kFloatLeaves = {Tile};

}  // namespace gannet::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif  // GANNET_IS_FAST
