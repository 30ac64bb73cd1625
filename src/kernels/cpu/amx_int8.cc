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
#include <utility>

#include "kernels/cpu/amx_tiles-inl.h"

// clang-format off
#include <hwy/base.h>
// clang-format on

HWY_PUSH_ATTRIBUTES("avx512f,avx512vl,avx512dq,avx512bw")

namespace gannet {
namespace {

#include "kernels/cpu/amx_unpack-inl.h"

const Int8Leaves& Vnni() { return N_AVX3::kInt8LeavesVnni; }

constexpr int kLeastRows = 9;    // fewer are faster with VNNI
constexpr int64_t kBlocks = 16;  // unpacked at a time, 18 or 20 KB
constexpr int64_t kSumsOfTile = 16 * 16;

// Tile registers: four of sums, two of rows, two of weights.
TileShapes ShapesOf(int rows) {
  TileShapes shapes;
  for (int i = 0; i < 4; ++i) shapes.Set(i, rows, kLine);
  for (int i = 4; i < 6; ++i) shapes.Set(i, rows, kQuantBlock);
  for (int i = 6; i < 8; ++i) shapes.Set(i, kQuantBlock / 4, kLine);
  return shapes;
}

// A unit are the 16 rows of one half of a weight tile with one row tile of x. Blocks says how a block of it is
// multiplied into one of kSets sets of registers, how the sums are saved to memory, and how they are scaled and added
// to the total from there. No step may follow the one before at once, since the processor would wait for it: kSets
// blocks are multiplied while those before are finished, from one unit to the next.
template <class Blocks>
struct Units {
  const Blocks& blocks;
  const std::byte* x;  // row tiles, x_stride apart
  int64_t x_stride;
  const std::byte* unpacked;  // [block][half] of `count` blocks
  int64_t count;
  int64_t units;  // two to each row tile
  float* sums;

  struct Place {
    const std::byte* x;
    const std::byte* unpacked;
    void Advance(const Blocks& blocks, int64_t by = 1) {
      x += by * blocks.x_bytes();
      unpacked += by * 2 * Blocks::kUnpackedBytes;
    }
  };
  Place PlaceOf(int64_t unit) const { return {x + unit / 2 * x_stride, unpacked + unit % 2 * Blocks::kUnpackedBytes}; }
  float* SumsOf(int64_t unit) const { return sums + unit / 2 * kRowTileOfAmx * kTileRows + unit % 2 * 16; }
};

// Lines to be fetched meanwhile; null for none.
struct Ahead {
  const std::byte* lines = nullptr;
  int64_t bytes = 0;  // at a time
  HWY_INLINE void Fetch() {
    if (!lines) return;
    for (int64_t i = 0; i < bytes; i += kLine) __builtin_prefetch(lines + i);
    lines += bytes;
  }
};

// Rows of sums between memory and registers; of those past the last one nothing is kept.
HWY_INLINE void LoadTotals(const float* sums, int rows, __m512 (&total)[kRowTileOfAmx]) {
#pragma GCC unroll 16
  for (int r = 0; r < kRowTileOfAmx; ++r) {
    total[r] = r < rows ? _mm512_loadu_ps(sums + r * kTileRows) : _mm512_setzero_ps();
  }
}
HWY_INLINE void StoreTotals(const __m512 (&total)[kRowTileOfAmx], int rows, float* sums) {
#pragma GCC unroll 16
  for (int r = 0; r < kRowTileOfAmx; ++r) {
    if (r < rows) _mm512_storeu_ps(sums + r * kTileRows, total[r]);
  }
}

// Finishes a block at `at`, while one of the next group is multiplied into the same set, from `next`.
template <int kSet, class Blocks, class Place>
HWY_INLINE void StepBlock(const Blocks& blocks, Place& at, Place& next, Ahead& ahead,
                          int32_t (*flight)[Blocks::kPlanes * kSumsOfTile], __m512 (&total)[kRowTileOfAmx]) {
  ahead.Fetch();
  blocks.template Save<(kSet + 1) % Blocks::kSets>(flight[(kSet + 1) % 2]);
  blocks.template Multiply<kSet>(next.x, next.unpacked);
  blocks.Finish(at.x, at.unpacked, flight[kSet % 2], total);
  next.Advance(blocks);
  at.Advance(blocks);
}
template <int... kSet, class... Args>
HWY_INLINE void StepGroup(std::integer_sequence<int, kSet...>, Args&... args) {
  (StepBlock<kSet>(args...), ...);
}
template <int... kSet, class Blocks, class Place>
HWY_INLINE void MultiplyGroup(std::integer_sequence<int, kSet...>, const Blocks& blocks, Place& next) {
  ((blocks.template Multiply<kSet>(next.x, next.unpacked), next.Advance(blocks)), ...);
}

// Of the blocks that fill groups of sets.
template <class Blocks>
void AddGroups(const Units<Blocks>& of, Ahead ahead) {
  const Blocks& blocks = of.blocks;
  const std::make_integer_sequence<int, Blocks::kSets> sets;
  alignas(kLine) int32_t flight[2][Blocks::kPlanes * kSumsOfTile];
  __m512 total[kRowTileOfAmx];
  const int64_t groups = of.count / Blocks::kSets;
  if (groups == 0) return;
  auto next = of.PlaceOf(0);
  MultiplyGroup(sets, blocks, next);
  blocks.template Save<0>(flight[0]);
  for (int64_t unit = 0; unit < of.units; ++unit) {
    if (unit == 2) ahead.lines = nullptr;
    auto at = of.PlaceOf(unit);
    LoadTotals(of.SumsOf(unit), blocks.rows, total);
    for (int64_t g = 1; g < groups; ++g) StepGroup(sets, blocks, at, next, ahead, flight, total);
    next = of.PlaceOf(unit + 1 < of.units ? unit + 1 : 0);  // behind the last group the first one, for nothing
    StepGroup(sets, blocks, at, next, ahead, flight, total);
    StoreTotals(total, blocks.rows, of.SumsOf(unit));
  }
}

// Of the blocks behind them: one after the other.
template <class Blocks>
void AddRest(const Units<Blocks>& of) {
  const int64_t whole = of.count / Blocks::kSets * Blocks::kSets;
  alignas(kLine) int32_t sums[Blocks::kPlanes * kSumsOfTile];
  __m512 total[kRowTileOfAmx];
  for (int64_t unit = 0; whole < of.count && unit < of.units; ++unit) {
    auto at = of.PlaceOf(unit);
    at.Advance(of.blocks, whole);
    LoadTotals(of.SumsOf(unit), of.blocks.rows, total);
    for (int64_t b = whole; b < of.count; ++b, at.Advance(of.blocks)) {
      of.blocks.template Multiply<0>(at.x, at.unpacked);
      of.blocks.template Save<0>(sums);
      of.blocks.Finish(at.x, at.unpacked, sums, total);
    }
    StoreTotals(total, of.blocks.rows, of.SumsOf(unit));
  }
}

// Adds the products of all units to their sums, `ahead` being fetched with those of the first row tile.
template <class Blocks>
void AddUnits(const Units<Blocks>& of, const Ahead& ahead) {
  AddGroups(of, ahead);
  AddRest(of);
}

template <bool kNormal>
struct Fp4Blocks {
  static constexpr int kPlanes = 1;
  static constexpr int kSets = 4;
  static constexpr int64_t kUnpackedBytes = kUnpackedFp4Bytes;
  static constexpr int64_t kHeader = kOnePlaneHeader;  // of a row tile
  int rows;

  int64_t x_bytes() const { return rows * kOnePlaneBytes; }
  template <int kSet>
  HWY_INLINE void Multiply(const std::byte* x, const std::byte* unpacked) const {
    constexpr int kRows = 4 + kSet % 2;
    constexpr int kWeights = 6 + kSet % 2;
    LoadTile<kRows>(x, kQuantBlock);
    LoadTile<kWeights>(unpacked, kLine);
    ZeroTile<kSet>();
    AddInt8Products<kSet, kRows, kWeights>();
  }
  template <int kSet>
  HWY_INLINE void Save(int32_t* to) const {
    StoreTile<kSet>(to, kLine);
  }
  HWY_INLINE void Finish(const std::byte* x, const std::byte* unpacked, const int32_t* from,
                         __m512 (&total)[kRowTileOfAmx]) const {
    const float* scale_x = reinterpret_cast<const float*>(x + rows * kQuantBlock);
    const __m512i powers = _mm512_load_si512(unpacked + kHalfBytes);
    const __m512i exponents = _mm512_sub_epi32(powers, _mm512_set1_epi32(127 << 23));
#pragma GCC unroll 16
    for (int r = 0; r < kRowTileOfAmx; ++r) {
      const __m512 factor = _mm512_set1_ps(scale_x[r]);
      const __m512 scale = kNormal ? _mm512_castsi512_ps(_mm512_add_epi32(exponents, _mm512_castps_si512(factor)))
                                   : _mm512_mul_ps(_mm512_castsi512_ps(powers), factor);
      const __m512 sum = _mm512_cvtepi32_ps(_mm512_load_si512(from + 16 * r));
      total[r] = _mm512_fmadd_ps(sum, scale, total[r]);
    }
  }
};

template <bool kMin>
struct TwoPlaneBlocks {
  static constexpr int kPlanes = 2;
  static constexpr int kSets = 2;
  static constexpr int64_t kUnpackedBytes = kUnpackedTwoPlaneBytes;
  static constexpr int64_t kHeader = 0;
  int rows;

  int64_t x_bytes() const { return rows * kQuantizedBytes; }
  template <int kSet>
  HWY_INLINE void Multiply(const std::byte* x, const std::byte* unpacked) const {
    constexpr int kWeights = 6 + kSet;
    LoadTile<kWeights>(unpacked, kLine);
    LoadTile<4>(x, kPlaneBytes);
    ZeroTile<2 * kSet>();
    AddInt8Products<2 * kSet, 4, kWeights>();
    LoadTile<5>(x + kQuantBlock, kPlaneBytes);
    ZeroTile<2 * kSet + 1>();
    AddInt8Products<2 * kSet + 1, 5, kWeights>();
  }
  template <int kSet>
  HWY_INLINE void Save(int32_t* to) const {
    StoreTile<2 * kSet>(to, kLine);
    StoreTile<2 * kSet + 1>(to + kSumsOfTile, kLine);
  }
  HWY_INLINE void Finish(const std::byte* x, const std::byte* unpacked, const int32_t* from,
                         __m512 (&total)[kRowTileOfAmx]) const {
    const __m512 unit = _mm512_set1_ps(kHighUnit);
    const float* scale_x = reinterpret_cast<const float*>(x + rows * kPlaneBytes);
    const __m512 scale = _mm512_load_ps(unpacked + kHalfBytes);
    const __m512 min = _mm512_load_ps(unpacked + kHalfBytes + kLine);
#pragma GCC unroll 16
    for (int r = 0; r < kRowTileOfAmx; ++r) {
      const __m512 high = _mm512_cvtepi32_ps(_mm512_load_si512(from + 16 * r));
      const __m512 low = _mm512_cvtepi32_ps(_mm512_load_si512(from + kSumsOfTile + 16 * r));
      // Rounded once, as the int32 is: both are exact.
      const __m512 sum = _mm512_fmadd_ps(high, unit, low);
      total[r] = _mm512_fmadd_ps(sum, _mm512_mul_ps(scale, _mm512_set1_ps(scale_x[r])), total[r]);
      if (kMin) total[r] = _mm512_fmadd_ps(min, _mm512_set1_ps(scale_x[rows + r]), total[r]);
    }
  }
};

// unpack(from, to, out) does so for blocks of the weights, which are ahead_of(block) when their turn comes; what is
// left with too few rows goes to `few`.
template <class Blocks, class Unpack, class AheadOf, class Few>
void RunTiles(const RowTiles& x, int64_t blocks, float* sums, Unpack unpack, AheadOf ahead_of, Few few) {
  const int64_t whole = x.rows / x.tile_rows;
  const int rest = static_cast<int>(x.rows % x.tile_rows);
  const bool rest_in_tiles = rest >= kLeastRows;
  float* const sums_of_rest = sums + whole * x.tile_rows * kTileRows;
  if (whole > 0 || rest_in_tiles) {
    alignas(kLine) std::byte unpacked[kBlocks * 2 * Blocks::kUnpackedBytes];
    int shaped = whole > 0 ? x.tile_rows : rest;
    Tiles tiles(ShapesOf(shaped));
    for (int64_t from = 0; from < blocks; from += kBlocks) {
      const int64_t to = std::min(blocks, from + kBlocks);
      unpack(from, to, unpacked);
      const auto add = [&](int64_t first, int64_t count, int rows, const Ahead& ahead, float* out) {
        if (rows != shaped) tiles.Shape(ShapesOf(shaped = rows));
        const Blocks of{rows};
        const std::byte* const values = x.at(first) + Blocks::kHeader + from * of.x_bytes();
        AddUnits(Units<Blocks>{of, values, x.stride, unpacked, to - from, 2 * count, out}, ahead);
      };
      Ahead ahead = ahead_of(to);
      if (whole > 0) add(0, whole, x.tile_rows, std::exchange(ahead, {}), sums);
      if (rest_in_tiles) add(whole, 1, rest, ahead, sums_of_rest);
    }
  }
  if (rest > 0 && !rest_in_tiles) few(RowTiles{x.at(whole), x.stride, x.tile_rows, rest}, sums_of_rest);
}

}  // namespace

void AmxTilesFp4(TileKind kind, const std::byte* weights, const ScaleRange& scales, const RowTiles& x, int64_t blocks,
                 float* sums) {
  if (kind == TileKind::kNvFp4) return Vnni().tiles_fp4(kind, weights, scales, x, blocks, sums);
  const auto unpack = [&](int64_t from, int64_t to, std::byte* out) { UnpackFp4(weights, from, to, out); };
  const auto ahead_of = [&](int64_t b) { return Ahead{weights + b / 2 * kFp4PairBytes, kFp4PairBytes / 4}; };
  const auto few = [&](const RowTiles& rest, float* out) {
    Vnni().tiles_fp4(kind, weights, scales, rest, blocks, out);
  };
  bool normal = true;
  for (int64_t i = 0; i < x.count(); ++i) {
    normal &= ProductsAreNormal(scales, *reinterpret_cast<const ScaleRange*>(x.at(i)));
  }
  normal ? RunTiles<Fp4Blocks<true>>(x, blocks, sums, unpack, ahead_of, few)
         : RunTiles<Fp4Blocks<false>>(x, blocks, sums, unpack, ahead_of, few);
}

void AmxTiles(TileKind kind, const std::byte* weights, const RowTiles& x, int64_t blocks, float* sums) {
  if (kind == TileKind::kQ6K) return Vnni().tiles(kind, weights, x, blocks, sums);  // two sums to a block
  const auto unpack = [&](int64_t from, int64_t to, std::byte* out) { UnpackTwoPlanes(kind, weights, from, to, out); };
  const auto ahead_of = [&](int64_t b) { return Ahead{weights + BlockOffset(kind, b), BlockBytes(kind) / 2}; };
  const auto few = [&](const RowTiles& rest, float* out) { Vnni().tiles(kind, weights, rest, blocks, out); };
  HasMin(kind) ? RunTiles<TwoPlaneBlocks<true>>(x, blocks, sums, unpack, ahead_of, few)
               : RunTiles<TwoPlaneBlocks<false>>(x, blocks, sums, unpack, ahead_of, few);
}

}  // namespace gannet

HWY_POP_ATTRIBUTES
#endif
