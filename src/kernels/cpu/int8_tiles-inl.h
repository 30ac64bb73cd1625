// Products of int8 rows with tiles of quantized weights, at the instruction set around it. Included inside a
// namespace, more than once: the leaves with VNNI live beside those without (GANNET_INT8_VNNI).
#include "kernels/cpu/int8_dots-inl.h"

// What a pass of R rows over blocks of a tile asks for beside them.
struct Ahead {
  bool near;             // what soon comes, into L1: by those who pass first
  int64_t far_of_block;  // lines of what follows these blocks, into L2
  const std::byte* far;

  const std::byte* Soon(const std::byte* from) const { return near ? from + kSoonBytes : from; }
  // At the start of a block of kBytes, where not LineByLine.
  template <int64_t kBytes>
  HWY_INLINE void Fetch(const std::byte* block) {
    if (near) {
#pragma GCC unroll 20
      for (int64_t line = 0; line < kBytes; line += kLine) __builtin_prefetch(block + kSoonBytes + line);
    }
    for (int64_t i = 0; i < far_of_block; ++i, far += kLine) __builtin_prefetch(far, 0, 2);
  }
};

// Blocks [first, last) of a tile, over which all rows of x pass in turn while they share out the lines that follow, so
// that memory works while they compute.
struct Stretch {
  int64_t first;
  int64_t last;
  const std::byte* next;
  int64_t lines;
  int64_t rows;

  Stretch(TileKind kind, const std::byte* weights, int64_t first, int64_t last, const RowTiles& x)
      : first(first), last(last), rows(x.rows) {
    const int64_t bytes = BlockOffset(kind, last) - BlockOffset(kind, first);
    next = weights + BlockOffset(kind, first) + (x.count() > 1 ? bytes : std::min(bytes, kFarBytes));
    lines = bytes / kLine;
  }
  // For `count` rows from `row`.
  Ahead During(int64_t row, int64_t count) const {
    const int64_t from = lines * row / rows;
    const int64_t to = lines * (row + count) / rows;
    const int64_t blocks = last - first;
    return {row == 0, (to - from + blocks - 1) / blocks, next + from * kLine};
  }
};

// pass(stretch, row tile) for all of x over stretches that stay in L1 meanwhile, of the whole tile if one pass is
// enough.
template <class Pass>
HWY_INLINE void ForStretches(TileKind kind, const std::byte* weights, const RowTiles& x, int64_t blocks, int rows_once,
                             Pass pass) {
  const int64_t count = x.rows <= rows_once ? 1 : 1 + BlockOffset(kind, blocks) / kStretchBytes;
  const int64_t step = (blocks + 2 * count - 1) / (2 * count) * 2;  // kFp4 has pairs
  for (int64_t first = 0; first < blocks; first += step) {
    const Stretch stretch(kind, weights, first, std::min(blocks, first + step), x);
    for (int64_t i = 0; i < x.count(); ++i) pass(stretch, i);
  }
}

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
                           const int offset, const int rows, Ahead ahead, float* sums) {
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
    const std::byte* soon = ahead.Soon(quants);
    if constexpr (LineByLine(R)) {
      for (int64_t line = 0; line < ScaleBytes(kKind); line += kLine) __builtin_prefetch(ahead.Soon(block) + line);
    } else if (half == 0) {
      ahead.Fetch<BlockBytes(kKind)>(block);
    }
    int32_t sums_x[R];
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) sums_x[r] = sum_q[r];
    I32x16 sum[R][H];
    if constexpr (kKind == TileKind::kQ6K) {
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) sums_x[r] = sum_q[rows + r];
      DotQ8<0, 4, R, H>(quants, soon, values, sums_x, sum);
#pragma GCC unroll 2
      for (int h = 0; h < H; ++h) {
        AddSums(sum, h, ScaleOf<kKind>(weights, block, b, half + h), scale_x, total);
      }
      block += 32;  // the scales of the second half
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) sums_x[r] = sum_q[r] - sum_q[rows + r];
      DotQ8<4, 8, R, H>(quants, soon, values, sums_x, sum);
    } else if constexpr (HasBytes(kKind)) {
      DotQ8<0, 8, R, H>(quants, soon, values, sums_x, sum);
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
      DotQ4<R, H>(quants, soon, values, sum);
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
void TileOfKind(const std::byte* weights, const RowTiles& x, int64_t tile, const Stretch& stretch, float* sums) {
  const int rows = x.rows_in(tile);
  for (int offset = 0; offset < rows; offset += kMaxRows) {
    const int left = rows - offset;
    const int step = left <= 2 ? kHalvesOfFew : kHalves;
    const Ahead ahead = stretch.During(tile * x.tile_rows + offset, std::min(kMaxRows, left));
    const auto pass = [&](auto add, int half) {
      add(weights, x.at(tile), stretch.first, stretch.last, half, offset, rows, ahead, sums);
    };
    for (int half = 0; half < 2; half += step) {
      if (left >= 4) {
        pass(TileRows<kKind, 4, kHalves>, half);
      } else if (left == 3) {
        pass(TileRows<kKind, 3, kHalves>, half);
      } else if (left == 2) {
        pass(TileRows<kKind, 2, kHalvesOfFew>, half);
      } else {
        pass(TileRows<kKind, 1, kHalvesOfFew>, half);
      }
    }
  }
}

auto TileOf(TileKind kind) {
  if (kind == TileKind::kQ8) return TileOfKind<TileKind::kQ8>;
  if (kind == TileKind::kQ8Min) return TileOfKind<TileKind::kQ8Min>;
  if (kind == TileKind::kQ5K) return TileOfKind<TileKind::kQ5K>;
  if (kind == TileKind::kQ6K) return TileOfKind<TileKind::kQ6K>;
  if (kind == TileKind::kQ4K) return TileOfKind<TileKind::kQ4K>;
  if (kind == TileKind::kQ4Offset) return TileOfKind<TileKind::kQ4Offset>;
  if (kind == TileKind::kQ4Zero) return TileOfKind<TileKind::kQ4Zero>;
  return TileOfKind<TileKind::kQ4Min>;
}

void Tiles(TileKind kind, const std::byte* weights, const RowTiles& x, int64_t blocks, float* sums) {
  const auto tile = TileOf(kind);
  ForStretches(kind, weights, x, blocks, kMaxRows, [&](const Stretch& stretch, int64_t i) {
    tile(weights, x, i, stretch, sums + i * x.tile_rows * kTileRows);
  });
}

#include "kernels/cpu/fp4_tiles-inl.h"
