// Products of int8 rows with tiles of quantized weights, at the instruction set around it. Included inside a
// namespace, more than once: the leaves with VNNI live beside those without (GANNET_INT8_VNNI).
#include "kernels/cpu/int8_dots-inl.h"

// The scales of the 16 rows of half `half`, of block `b` or of its halves.
template <TileKind kKind>
HWY_INLINE F32x16 ScaleOf(const std::byte* tile, const std::byte* block, int64_t b, int half) {
  if constexpr (IsK(kKind)) {
    const std::byte* header = tile + BlockOffset(kKind, FirstOfK(b));
    const F32x16 d = Load(reinterpret_cast<const hwy::float16_t*>(header) + 16 * half);
    if constexpr (kKind == TileKind::kQ6K) {
      return Mul(d, Load(reinterpret_cast<const int8_t*>(block) + 16 * half));
    }
    return Mul(d, ToFloat(LoadUnsigned(block + 16 * half)));
  }
  return Load(reinterpret_cast<const hwy::float16_t*>(block) + 16 * half);
}

// Rows [offset, offset + R) of a tile of `rows` quantized rows, with H halves of the weight tile from half `half`.
template <TileKind kKind, int R, int H>
HWY_NOINLINE void TileRows(const std::byte* weights, const std::byte* x, int64_t first, int64_t last, const int half,
                           const int offset, const int rows, float* sums) {
  sums += offset * kTileRows + half * 16;
  x += first * rows * kQuantizedBytes;
  F32x16 total[R][H];
  LoadSums(sums, total);
  for (int64_t b = first; b < last; ++b, x += rows * kQuantizedBytes) {
    const std::byte* block = weights + BlockOffset(kKind, b) + (IsK(kKind) ? kHeaderOfK : 0);
    const std::byte* quants = block + ScaleBytes(kKind) + half * HalfQuantBytes(kKind);
    const int8_t* values = reinterpret_cast<const int8_t*>(x) + offset * kPlaneBytes;
    const float* scale_x = reinterpret_cast<const float*>(x + rows * kPlaneBytes) + offset;
    const float* sum_x = scale_x + rows;
    const int32_t* sum_q = reinterpret_cast<const int32_t*>(sum_x + rows);
    if (half == 0) {
      for (int64_t line = 0; line < BlockBytes(kKind); line += 64) __builtin_prefetch(block + kPrefetchBytes + line);
    }
    int32_t sums_x[R];
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) sums_x[r] = sum_q[r];
    I32x16 sum[R][H];
    if constexpr (kKind == TileKind::kQ6K) {
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) sums_x[r] = sum_q[rows + r];
      DotQ8<0, 4, R, H>(quants, values, sums_x, sum);
#pragma GCC unroll 2
      for (int h = 0; h < H; ++h) {
        AddSums(sum, h, ScaleOf<kKind>(weights, block, b, half + h), scale_x, total);
      }
      block += 32;  // the scales of the second half
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) sums_x[r] = sum_q[r] - sum_q[rows + r];
      DotQ8<4, 8, R, H>(quants, values, sums_x, sum);
    } else if constexpr (HasBytes(kKind)) {
      DotQ8<0, 8, R, H>(quants, values, sums_x, sum);
    } else {
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
#pragma GCC unroll 2
        for (int h = 0; h < H; ++h) sum[r][h] = BroadcastInt(kKind == TileKind::kQ4Offset ? -8 * sums_x[r] : 0);
      }
      if constexpr (kKind == TileKind::kQ4Zero) {
#pragma GCC unroll 2
        for (int h = 0; h < H; ++h) {
          const I32x16 zero = LoadUnsigned(block + 64 + 16 * (half + h));
#pragma GCC unroll 8
          for (int r = 0; r < R; ++r) sum[r][h] = MulInts(zero, BroadcastInt(-sums_x[r]));
        }
      }
      DotQ4<R, H>(quants, values, sum);
    }
#pragma GCC unroll 2
    for (int h = 0; h < H; ++h) {
      AddSums(sum, h, ScaleOf<kKind>(weights, block, b, half + h), scale_x, total);
      if constexpr (kKind == TileKind::kQ4Min || kKind == TileKind::kQ8Min) {
        const F32x16 min_w = Load(reinterpret_cast<const hwy::float16_t*>(block) + 32 + 16 * (half + h));
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) total[r][h] = MulAdd(min_w, Broadcast(sum_x[r]), total[r][h]);
      }
      if constexpr (kKind == TileKind::kQ4K || kKind == TileKind::kQ5K) {
        const std::byte* header = weights + BlockOffset(kKind, FirstOfK(b));
        const F32x16 dmin = Load(reinterpret_cast<const hwy::float16_t*>(header) + 32 + 16 * (half + h));
        const F32x16 min_w = Mul(dmin, ToFloat(LoadUnsigned(block + 32 + 16 * (half + h))));
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) total[r][h] = NegMulAdd(min_w, Broadcast(sum_x[r]), total[r][h]);
      }
    }
  }
  StoreSums(total, sums);
}

template <TileKind kKind>
void TileOfKind(const std::byte* weights, const std::byte* x, int64_t first, int64_t last, int rows, float* sums) {
  for (int offset = 0; offset < rows; offset += kMaxRows) {
    const int left = rows - offset;
    const int step = left <= 2 ? kHalvesOfFew : kHalves;
    for (int half = 0; half < 2; half += step) {
      if (left >= 4) {
        TileRows<kKind, 4, kHalves>(weights, x, first, last, half, offset, rows, sums);
      } else if (left == 3) {
        TileRows<kKind, 3, kHalves>(weights, x, first, last, half, offset, rows, sums);
      } else if (left == 2) {
        TileRows<kKind, 2, kHalvesOfFew>(weights, x, first, last, half, offset, rows, sums);
      } else {
        TileRows<kKind, 1, kHalvesOfFew>(weights, x, first, last, half, offset, rows, sums);
      }
    }
  }
}

void RowTile(TileKind kind, const std::byte* weights, const std::byte* x, int64_t first, int64_t last, int rows,
             float* sums) {
  if (kind == TileKind::kQ8) return TileOfKind<TileKind::kQ8>(weights, x, first, last, rows, sums);
  if (kind == TileKind::kQ8Min) return TileOfKind<TileKind::kQ8Min>(weights, x, first, last, rows, sums);
  if (kind == TileKind::kQ5K) return TileOfKind<TileKind::kQ5K>(weights, x, first, last, rows, sums);
  if (kind == TileKind::kQ6K) return TileOfKind<TileKind::kQ6K>(weights, x, first, last, rows, sums);
  if (kind == TileKind::kQ4K) return TileOfKind<TileKind::kQ4K>(weights, x, first, last, rows, sums);
  if (kind == TileKind::kQ4Offset) return TileOfKind<TileKind::kQ4Offset>(weights, x, first, last, rows, sums);
  if (kind == TileKind::kQ4Zero) return TileOfKind<TileKind::kQ4Zero>(weights, x, first, last, rows, sums);
  return TileOfKind<TileKind::kQ4Min>(weights, x, first, last, rows, sums);
}

void Tiles(TileKind kind, const std::byte* weights, const RowTiles& x, int64_t first, int64_t last, float* sums) {
  for (int64_t i = 0; i < x.count(); ++i, sums += x.tile_rows * kTileRows) {
    RowTile(kind, weights, x.at(i), first, last, x.rows_in(i), sums);
  }
}

#include "kernels/cpu/fp4_tiles-inl.h"
