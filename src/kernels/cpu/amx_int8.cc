// Products of int8 rows with tiles of quantized weights in the tile registers of AMX: the exact sums of a block's
// products come out of a register, and are scaled and added as every instruction set does it.
#include "kernels/cpu/matmul_amx.h"
#include "kernels/cpu/target_setup.h"
#include "kernels/cpu/targets.h"

#if defined(__x86_64__) && !(HWY_DISABLED_TARGETS & HWY_AVX3)

// GCC 12 takes what its own intrinsics leave undefined on purpose for a mistake (GCC bug 105593).
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>

#include <algorithm>

#include "kernels/cpu/amx_tiles-inl.h"

// clang-format off
#include <hwy/base.h>
// clang-format on

HWY_PUSH_ATTRIBUTES("avx512f,avx512vl,avx512dq,avx512bw")

namespace gannet {
namespace {

const Int8Leaves& Vnni() { return N_AVX3::kInt8LeavesVnni; }

constexpr int kLeastRows = 9;        // fewer are faster with VNNI
constexpr int64_t kLine = 64;        // of 16 weight rows by four k
constexpr int64_t kHalfBytes = 512;  // 16 weight rows of a block as int8, [8 groups][16 rows][4 k]
constexpr int64_t kBlocks = 16;      // unpacked at a time, 16 KB
constexpr int64_t kSumsOfTile = 16 * 16;

inline __m512i LoadLine(const void* from) { return _mm512_loadu_si512(from); }
inline __m512i Bytes16(const std::byte* from) {
  return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
}
inline __m512 Halves16(const std::byte* from) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
}

// Tile registers: four of sums, two of rows, two of weights.
TileShapes ShapesOf(int rows) {
  TileShapes shapes;
  for (int i = 0; i < 4; ++i) shapes.Set(i, rows, kLine);
  for (int i = 4; i < 6; ++i) shapes.Set(i, rows, kQuantBlock);
  for (int i = 6; i < 8; ++i) shapes.Set(i, kQuantBlock / 4, kLine);
  return shapes;
}

// A half of each of the blocks that are unpacked next, to be fetched meanwhile; null where they were already.
struct Ahead {
  const std::byte* blocks;
  int64_t half_bytes;
  void Fetch(int64_t b) const {
    if (!blocks) return;
    for (int64_t i = 0; i < half_bytes; i += kLine) __builtin_prefetch(blocks + 2 * b * half_bytes + i);
  }
};

// A Half are 16 rows of a weight tile with one row tile. A block's sums are multiplied into one of kSets sets of
// registers, saved to memory when they are done, and added to the total from there. Neither step may follow the one
// before at once: the processor would wait for it.
template <bool kInside, int kSet, int R, class Half>
HWY_INLINE void StepBlock(const Half& half, int64_t b, int64_t count, int32_t (*flight)[Half::kPlanes * kSumsOfTile],
                          __m512 (&total)[R]) {
  half.ahead.Fetch(b);
  if (kInside || b + 1 < count) half.template Save<(kSet + 1) % Half::kSets>(flight[(b + 1) % 2]);
  if (kInside || b + Half::kSets < count) half.template Multiply<kSet>(b + Half::kSets);
  half.Finish(b, flight[b % 2], total);
}

// Adds `count` blocks to `rows` rows of sums.
template <class Half>
void AddBlocks(const Half& half, int64_t count, int rows, float* sums) {
  constexpr int R = kRowTileOfAmx;
  constexpr int kSets = Half::kSets;
  alignas(kLine) int32_t flight[2][Half::kPlanes * kSumsOfTile];
  __m512 total[R];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) total[r] = r < rows ? _mm512_loadu_ps(sums + r * kTileRows) : _mm512_setzero_ps();
  half.template Multiply<0>(0);
  if (count > 1) half.template Multiply<1>(1);
  if (kSets > 2 && count > 2) half.template Multiply<2 % kSets>(2);
  if (kSets > 2 && count > 3) half.template Multiply<3 % kSets>(3);
  half.template Save<0>(flight[0]);
  int64_t b = 0;
  for (; b + 3 + kSets < count; b += 4) {
    StepBlock<true, 0>(half, b, count, flight, total);
    StepBlock<true, 1>(half, b + 1, count, flight, total);
    StepBlock<true, 2 % kSets>(half, b + 2, count, flight, total);
    StepBlock<true, 3 % kSets>(half, b + 3, count, flight, total);
  }
  for (; b < count; b += 4) {
    StepBlock<false, 0>(half, b, count, flight, total);
    if (b + 1 < count) StepBlock<false, 1>(half, b + 1, count, flight, total);
    if (b + 2 < count) StepBlock<false, 2 % kSets>(half, b + 2, count, flight, total);
    if (b + 3 < count) StepBlock<false, 3 % kSets>(half, b + 3, count, flight, total);
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
    if (r < rows) _mm512_storeu_ps(sums + r * kTileRows, total[r]);
  }
}

template <bool kNormal>
struct Fp4Half {
  static constexpr int kPlanes = 1;
  static constexpr int kSets = 4;
  const std::byte* weights;
  const std::byte* unpacked;  // of the first block
  const std::byte* x;
  int64_t first;
  int half;
  int rows;
  Ahead ahead;

  const std::byte* values(int64_t b) const { return x + (first + b) * rows * kOnePlaneBytes; }
  template <int kSet>
  HWY_INLINE void Multiply(int64_t b) const {
    constexpr int kRows = 4 + kSet % 2;
    constexpr int kWeights = 6 + kSet % 2;
    LoadTile<kRows>(values(b), kQuantBlock);
    LoadTile<kWeights>(unpacked + b * 2 * kHalfBytes, kLine);
    ZeroTile<kSet>();
    AddInt8Products<kSet, kRows, kWeights>();
  }
  template <int kSet>
  HWY_INLINE void Save(int32_t* to) const {
    StoreTile<kSet>(to, kLine);
  }
  template <int R>
  HWY_INLINE void Finish(int64_t b, const int32_t* from, __m512 (&total)[R]) const {
    const float* scale_x = reinterpret_cast<const float*>(values(b) + rows * kQuantBlock);
    const std::byte* scales = weights + (first + b) / 2 * kFp4PairBytes + 32 * ((first + b) % 2) + 16 * half;
    const __m512i bits = _mm512_slli_epi32(Bytes16(scales), 23);
    const __m512 powers = _mm512_castsi512_ps(_mm512_max_epi32(bits, _mm512_set1_epi32(0x00400000)));
    const __m512i exponents = _mm512_sub_epi32(bits, _mm512_set1_epi32(127 << 23));
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const __m512 factor = _mm512_set1_ps(scale_x[r]);
      const __m512 scale = kNormal ? _mm512_castsi512_ps(_mm512_add_epi32(exponents, _mm512_castps_si512(factor)))
                                   : _mm512_mul_ps(powers, factor);
      const __m512 sum = _mm512_cvtepi32_ps(_mm512_load_si512(from + 16 * r));
      total[r] = _mm512_fmadd_ps(sum, scale, total[r]);
    }
  }
};

constexpr bool HasMin(TileKind kind) { return kind == TileKind::kQ4Min || kind == TileKind::kQ8Min || IsK(kind); }

struct BlockScales {
  __m512 scale;
  __m512 min;  // what is added, times scale * sum of x
};

inline const std::byte* BlockOf(TileKind kind, const std::byte* weights, int64_t b) {
  return weights + BlockOffset(kind, b) + (IsK(kind) ? kHeaderOfK : 0);
}

// Of 16 rows of block `b`.
inline BlockScales ScalesOf(TileKind kind, const std::byte* weights, int64_t b, int half) {
  const std::byte* const block = BlockOf(kind, weights, b);
  if (IsK(kind)) {
    const std::byte* const header = weights + BlockOffset(kind, FirstOfK(b)) + 32 * half;
    const __m512 scale = _mm512_mul_ps(Halves16(header), _mm512_cvtepi32_ps(Bytes16(block + 16 * half)));
    const __m512 min = _mm512_mul_ps(Halves16(header + 64), _mm512_cvtepi32_ps(Bytes16(block + 32 + 16 * half)));
    return {scale, _mm512_sub_ps(_mm512_setzero_ps(), min)};
  }
  return {Halves16(block + 32 * half), HasMin(kind) ? Halves16(block + 64 + 32 * half) : _mm512_setzero_ps()};
}

template <bool kMin>
struct TwoPlaneHalf {
  static constexpr int kPlanes = 2;
  static constexpr int kSets = 2;
  TileKind kind;
  const std::byte* weights;
  const std::byte* unpacked;
  const std::byte* x;
  int64_t first;
  int half;
  int rows;
  Ahead ahead;

  const std::byte* values(int64_t b) const { return x + (first + b) * rows * kQuantizedBytes; }
  template <int kSet>
  HWY_INLINE void Multiply(int64_t b) const {
    constexpr int kWeights = 6 + kSet;
    LoadTile<kWeights>(unpacked + b * 2 * kHalfBytes, kLine);
    LoadTile<4>(values(b), kPlaneBytes);
    ZeroTile<2 * kSet>();
    AddInt8Products<2 * kSet, 4, kWeights>();
    LoadTile<5>(values(b) + kQuantBlock, kPlaneBytes);
    ZeroTile<2 * kSet + 1>();
    AddInt8Products<2 * kSet + 1, 5, kWeights>();
  }
  template <int kSet>
  HWY_INLINE void Save(int32_t* to) const {
    StoreTile<2 * kSet>(to, kLine);
    StoreTile<2 * kSet + 1>(to + kSumsOfTile, kLine);
  }
  template <int R>
  HWY_INLINE void Finish(int64_t b, const int32_t* from, __m512 (&total)[R]) const {
    const __m512 unit = _mm512_set1_ps(kHighUnit);
    const float* scale_x = reinterpret_cast<const float*>(values(b) + rows * kPlaneBytes);
    const BlockScales scales = ScalesOf(kind, weights, first + b, half);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const __m512 high = _mm512_cvtepi32_ps(_mm512_load_si512(from + 16 * r));
      const __m512 low = _mm512_cvtepi32_ps(_mm512_load_si512(from + kSumsOfTile + 16 * r));
      // Rounded once, as the int32 is: both are exact.
      const __m512 sum = _mm512_fmadd_ps(high, unit, low);
      total[r] = _mm512_fmadd_ps(sum, _mm512_mul_ps(scales.scale, _mm512_set1_ps(scale_x[r])), total[r]);
      if (kMin) total[r] = _mm512_fmadd_ps(scales.min, _mm512_set1_ps(scale_x[rows + r]), total[r]);
    }
  }
};

// Nibbles of 16 rows as bytes by a table of sixteen, less `zero` of each row.
inline void UnpackNibbles(const std::byte* quants, __m512i table, __m512i zero, std::byte* out) {
  const __m512i nibble = _mm512_set1_epi8(15);
#pragma GCC unroll 4
  for (int g = 0; g < 4; ++g) {
    const __m512i bytes = LoadLine(quants + kLine * g);
    const __m512i low = _mm512_shuffle_epi8(table, _mm512_and_si512(bytes, nibble));
    const __m512i high = _mm512_shuffle_epi8(table, _mm512_and_si512(_mm512_srli_epi16(bytes, 4), nibble));
    _mm512_store_si512(out + kLine * g, _mm512_sub_epi8(low, zero));
    _mm512_store_si512(out + kLine * (4 + g), _mm512_sub_epi8(high, zero));
  }
}

inline __m512i Table(__m128i codes) { return _mm512_broadcast_i32x4(codes); }

void UnpackFp4(const std::byte* weights, int64_t first, int64_t last, std::byte* out) {
  const __m512i twice = Table(_mm_setr_epi8(0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12));
  for (int64_t b = first; b < last; ++b) {
    const std::byte* quants = weights + b / 2 * kFp4PairBytes + 64 + 512 * (b % 2);
    for (int half = 0; half < 2; ++half, quants += 256, out += kHalfBytes) {
      UnpackNibbles(quants, twice, _mm512_setzero_si512(), out);
    }
  }
}

void UnpackTwoPlanes(TileKind kind, const std::byte* weights, int64_t first, int64_t last, std::byte* out) {
  const __m512i same = Table(_mm_setr_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
  const __m512i sign = _mm512_set1_epi8(-128);
  for (int64_t b = first; b < last; ++b) {
    const std::byte* const block = BlockOf(kind, weights, b);
    for (int half = 0; half < 2; ++half, out += kHalfBytes) {
      const std::byte* const quants = block + ScaleBytes(kind) + half * HalfQuantBytes(kind);
      if (HasBytes(kind)) {
        for (int g = 0; g < 8; ++g) {
          _mm512_store_si512(out + kLine * g, _mm512_xor_si512(LoadLine(quants + kLine * g), sign));
        }
        continue;
      }
      const __m512i zero = kind == TileKind::kQ4Zero
                               ? _mm512_mullo_epi32(Bytes16(block + 64 + 16 * half), _mm512_set1_epi32(0x01010101))
                               : _mm512_set1_epi8(kind == TileKind::kQ4Offset ? 8 : 0);
      UnpackNibbles(quants, same, zero, out);
    }
  }
}

// unpack(from, to, out) some blocks of the weights, then add(row tile, rows, half, unpacked, from, to, sums) for each
// row tile; what is left with too few rows goes to `few`.
template <class Unpack, class Add, class Few>
void RunTiles(const RowTiles& x, int64_t blocks, float* sums, Unpack unpack, Add add, Few few) {
  const int64_t rest = x.rows % x.tile_rows;
  const int64_t count = x.count() - (rest > 0 && rest < kLeastRows ? 1 : 0);
  if (count > 0) {
    alignas(kLine) std::byte unpacked[kBlocks * 2 * kHalfBytes];
    int shaped = x.rows_in(0);
    Tiles tiles(ShapesOf(shaped));
    for (int64_t from = 0; from < blocks; from += kBlocks) {
      const int64_t to = std::min(blocks, from + kBlocks);
      unpack(from, to, unpacked);
      for (int64_t i = 0; i < count; ++i) {
        const int rows = x.rows_in(i);
        if (rows != shaped) tiles.Shape(ShapesOf(shaped = rows));
        for (int half = 0; half < 2; ++half) {
          float* const sums_of_half = sums + i * x.tile_rows * kTileRows + 16 * half;
          add(x.at(i), rows, half, unpacked + half * kHalfBytes, from, to, i == 0, sums_of_half);
        }
      }
    }
  }
  if (count < x.count()) {
    few(RowTiles{x.at(count), x.stride, x.tile_rows, x.rows - count * x.tile_rows},
        sums + count * x.tile_rows * kTileRows);
  }
}

}  // namespace

void AmxTilesFp4(TileKind kind, const std::byte* weights, const ScaleRange& scales, const RowTiles& x, int64_t blocks,
                 float* sums) {
  if (kind == TileKind::kNvFp4) return Vnni().tiles_fp4(kind, weights, scales, x, blocks, sums);
  const auto unpack = [&](int64_t from, int64_t to, std::byte* out) { UnpackFp4(weights, from, to, out); };
  const auto add = [&](const std::byte* row_tile, int rows, int half, const std::byte* unpacked, int64_t from,
                       int64_t to, bool fetch, float* out) {
    constexpr int64_t kBytes = kFp4PairBytes / 4;  // of a half of a block
    const std::byte* const ahead = fetch ? weights + to / 2 * kFp4PairBytes + half * kBytes : nullptr;
    const std::byte* const values = row_tile + kOnePlaneHeader;
    if (ProductsAreNormal(scales, *reinterpret_cast<const ScaleRange*>(row_tile))) {
      AddBlocks(Fp4Half<true>{weights, unpacked, values, from, half, rows, {ahead, kBytes}}, to - from, rows, out);
    } else {
      AddBlocks(Fp4Half<false>{weights, unpacked, values, from, half, rows, {ahead, kBytes}}, to - from, rows, out);
    }
  };
  const auto few = [&](const RowTiles& rest, float* out) {
    Vnni().tiles_fp4(kind, weights, scales, rest, blocks, out);
  };
  RunTiles(x, blocks, sums, unpack, add, few);
}

void AmxTiles(TileKind kind, const std::byte* weights, const RowTiles& x, int64_t blocks, float* sums) {
  if (kind == TileKind::kQ6K) return Vnni().tiles(kind, weights, x, blocks, sums);  // two sums to a block
  const auto unpack = [&](int64_t from, int64_t to, std::byte* out) { UnpackTwoPlanes(kind, weights, from, to, out); };
  const auto add = [&](const std::byte* row_tile, int rows, int half, const std::byte* unpacked, int64_t from,
                       int64_t to, bool fetch, float* out) {
    const int64_t bytes = BlockBytes(kind) / 2;  // of a half of a block
    const std::byte* const ahead = fetch ? weights + BlockOffset(kind, to) + half * bytes : nullptr;
    if (HasMin(kind)) {
      AddBlocks(TwoPlaneHalf<true>{kind, weights, unpacked, row_tile, from, half, rows, {ahead, bytes}}, to - from,
                rows, out);
    } else {
      AddBlocks(TwoPlaneHalf<false>{kind, weights, unpacked, row_tile, from, half, rows, {ahead, bytes}}, to - from,
                rows, out);
    }
  };
  const auto few = [&](const RowTiles& rest, float* out) { Vnni().tiles(kind, weights, rest, blocks, out); };
  RunTiles(x, blocks, sums, unpack, add, few);
}

}  // namespace gannet

HWY_POP_ATTRIBUTES
#endif
