// The innermost loops of a matrix product, one set per instruction set, and how their operands lie in memory.
//
// Order of additions. Quantized weights: for each 32-block b of K in order, with i = sum q_w q_x the block's exact
// int32,
//   out = fma(float(i), scale_w * scale_x, out);   with minima also   out = fma(min_w, scale_x * sum q_x, out).
// K-quants (kQ4K, kQ5K, kQ6K): scale_w = d * scale and min_w = -dmin * minimum, exact in fp32; a block of kQ6K is two
// halves of 16 with a scale and a sum i each.
// Zero points and the 8 of kQ4Offset are part of i = sum (q_w - zero) q_x.
// A weight whose rows have one scale each (INT8) has blocks of scale 1, and its finished sum is multiplied once.
// 4-bit floats (MXFP4) have activations of one plane, i = sum (2 w + 12) q_x - 12 sum q_x, and
//   out = fma(float(i), scale_w * (scale_x / 2), out);
// with a scale for every 16 (NVFP4) a block is two halves, and the finished sum is multiplied by the matrix's factor.
// float(i) is exact for 4-bit weights (|i| <= 15 * 32258 * 32 < 2^24) and is rounded once, to nearest, for 8-bit ones
// (|i| <= 128 * 32258 * 32 < 2^27).
// Table amx, bf16 weights: x as the sum of three bf16 planes, each what is left of it, rounded: exact but for
// what is below 2^-133. For each 32-block of K in
// order, for each plane, over pairs (k, k + 1) of the block in order:
//   even = fma(w[k], x[k], even), odd = fma(w[k + 1], x[k + 1], odd), both from zero;   out = out + (even + odd)
// where subnormal numbers are zero (TDPBF16PS, Intel SDM volume 2).
// Float weights: out = fma(w[k], x[k], out) for k in order; int8 and e4m3 ones whose scale s changes with k (kI8,
// kE4M3) the same with w = q_w and fp32 s[k] * x[k] in place of x[k]. Every instruction set does the same, to the bit.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace gannet {

inline constexpr int kRowTile = 8;  // rows of x that share one pass over a weight tile, but for table amx
inline constexpr int kRowTileOfAmx = 16;
inline constexpr int kTileRows = 32;    // weight rows in a tile
inline constexpr int kQuantBlock = 32;  // values along K that share a scale

// A tile of 32 quantized weight rows is a run of 32-blocks along K, each f16 scale[32], then, with minima (kQ4Min), f16
// min[32], with zero points (kQ4Zero) u8 zero[32] and 32 bytes of nothing, then the quants of rows 0..15 and those of
// rows 16..31:
//   kQ8..:   [8 groups of 4 k][16 rows][4 k] of value + 128
//   kQ4..:   [4 groups][16 rows][4 k]: low nibble k = 4 g + i, high nibble k = 16 + 4 g + i
// K-quants (kQ4K, kQ5K, kQ6K): before every eighth block f16 d[32] and f16 dmin[32] (or 64 bytes of nothing); in place
// of a block's f16 scales u8 scale[32] and u8 minimum[32], or those of kQ6K, s8 scale[32] of each half.
// 4-bit floats (kFp4) lie in pairs of blocks, so that quants start at cache lines: E8M0 scale[32] of the first and of
// the second block, then the quants of each, laid out as those of kQ4; an odd last block has a partner of zeros. kNvFp4
// has the e4m3 scale[32] of a block's first and of its second half before its quants. A tile
// of float weights is [K][32 rows], one of kI8 or kE4M3 fp32 scale[K] (of kE4M3 times 2^8) before a byte each [K][32
// rows].
// clang-format off
enum class TileKind : uint8_t {
  kQ8, kQ8Min, kQ5K, kQ6K, kQ4Offset, kQ4Min, kQ4Zero, kQ4K, kFp4, kNvFp4,  // integers
  kF32, kF16, kBF16, kI8, kE4M3                                              // floats
};
// clang-format on
constexpr bool OnePlane(TileKind kind) { return kind == TileKind::kFp4 || kind == TileKind::kNvFp4; }
constexpr bool IsInteger(TileKind kind) { return kind < TileKind::kF32; }
constexpr bool HasScaleOfEachK(TileKind kind) { return kind >= TileKind::kI8; }
inline constexpr float kE4M3Unit = 256;  // the bits of a code in the places of binary16's are its value / 256

inline constexpr int64_t kFp4PairBytes = 64 + 2 * 512;

constexpr bool IsK(TileKind kind) { return kind == TileKind::kQ4K || kind == TileKind::kQ5K || kind == TileKind::kQ6K; }
constexpr bool HasBytes(TileKind kind) { return kind <= TileKind::kQ6K; }  // a quant is a byte, not a nibble
constexpr int64_t ScaleBytes(TileKind kind) {                              // of a block
  return kind == TileKind::kQ4Min || kind == TileKind::kQ4Zero || kind == TileKind::kQ8Min ? 128 : 64;
}
constexpr int64_t HalfQuantBytes(TileKind kind) { return HasBytes(kind) ? 512 : 256; }  // of 16 rows
constexpr int64_t BlockBytes(TileKind kind) { return ScaleBytes(kind) + 2 * HalfQuantBytes(kind); }
inline constexpr int64_t kBlocksOfK = 8;
inline constexpr int64_t kHeaderOfK = 128;
// How far ahead the leaves ask for weights: beyond what a few rows multiply while memory answers, and not whole pages,
// whose lines have the sets of L1 of those being read.
inline constexpr int64_t kSoonBytes = 7168;
inline constexpr int kFloatsTogether = 8;
// Where block `b` of a tile is; of `b` blocks, how long the tile is.
constexpr int64_t BlockOffset(TileKind kind, int64_t b) {
  if (kind == TileKind::kFp4) return b * kFp4PairBytes / 2;  // of whole pairs
  return b * BlockBytes(kind) + (IsK(kind) ? b / kBlocksOfK * kHeaderOfK : 0);
}
constexpr int64_t FirstOfK(int64_t b) { return b / kBlocksOfK * kBlocksOfK; }

// Activations are integers q in [-32258, 32258] times the scale of their block, about 15 bits and a sign, as two int8
// planes: q = 254 * high + low, both in [-127, 127], so that a dot product is 254 * dot(w, high) + dot(w, low).
// The high plane alone, 8-bit activations, costs half and was rejected: on SmolLM2 it moved the logits by up to 2.97
// (rms 0.34) from those of fp32 activations, and changed greedy answers.
// 4-bit floats take one plane, integers in [-127, 127]: their own step is 16 % of a value and more, that of an 8-bit
// activation 0.4 % of the block's largest.
inline constexpr int kHighUnit = 254;
inline constexpr int kMostQuantized = 127 * kHighUnit;

// Rows of x quantized, `rows` of a row tile together. Per block of 32: int8 [rows][high 32, low 32], then [rows]
// each of fp32 scale, fp32 scale * sum q, int32 sum q, int32 sum q of the first 16.
inline constexpr int64_t kPlaneBytes = 2 * kQuantBlock;       // per row and block
inline constexpr int64_t kQuantizedBytes = kPlaneBytes + 16;  // per row and block
// Of one plane: 64 bytes that begin with the ScaleRange of all rows and blocks; then per block int8 [rows][32] and
// [rows] each of fp32 scale / 2, int32 -12 * sum q, int32 that of the first 16.
struct ScaleRange {  // biased exponents of fp32 numbers, or 255 where one is not finite
  uint8_t least = 255;
  uint8_t greatest = 0;
  void Add(uint8_t exponent) {
    least = std::min(least, exponent);
    greatest = std::max(greatest, exponent);
  }
};
// Whether the product of any two numbers of the ranges is a normal number.
constexpr bool ProductsAreNormal(const ScaleRange& a, const ScaleRange& b) {
  return a.least > 0 && b.least > 0 && a.least + b.least > 127 && a.greatest < 255 && b.greatest < 255 &&
         a.greatest + b.greatest < 127 + 255;
}
inline constexpr int64_t kOnePlaneHeader = 64;
inline constexpr int64_t kOnePlaneBytes = kQuantBlock + 12;  // per row and block
inline constexpr int kMostOfOnePlane = 127;

// Rows of x: tiles of `tile_rows` rows, `stride` bytes apart, the last one of what is left.
struct RowTiles {
  const std::byte* first;
  int64_t stride;
  int tile_rows;
  int64_t rows;
  int64_t count() const { return (rows + tile_rows - 1) / tile_rows; }
  const std::byte* at(int64_t i) const { return first + i * stride; }
  int rows_in(int64_t i) const { return static_cast<int>(std::min<int64_t>(tile_rows, rows - i * tile_rows)); }
};

struct Int8Leaves {
  // Quantizes row `row` of a tile of `rows` rows at `tile`. scale = max|x| / 32258; a block with a value that is not
  // finite gets a NaN scale; max|x| < 2^-100 counts as zero.
  void (*quantize_row)(const float* x, int64_t blocks, int row, int rows, std::byte* tile);
  // sums[rows][kTileRows] += products over the `blocks` of a tile of any integer kind of two planes.
  void (*tiles)(TileKind kind, const std::byte* weights, const RowTiles& x, int64_t blocks, float* sums);
  // The same with one plane and a tile of kind kFp4 or kNvFp4. Row 0 of a tile comes first. `scales` are those of kFp4.
  void (*quantize_row_fp4)(const float* x, int64_t blocks, int row, int rows, std::byte* tile);
  void (*tiles_fp4)(TileKind kind, const std::byte* weights, const ScaleRange& scales, const RowTiles& x,
                    int64_t blocks, float* sums);
};

struct FloatLeaves {
  // sums[rows][kTileRows] += products of x [K][rows] with a tile of a float kind over k in [first, last) of `k`. Reads
  // kFloatsTogether floats of x at a time, perhaps past its end.
  void (*tile)(TileKind kind, const std::byte* weights, const float* x, int64_t first, int64_t last, int64_t k,
               int rows, float* sums);
};

inline constexpr int kBf16Planes = 3;
struct Bf16Leaves {
  // Row `row` of a tile of `rows` <= 16 rows: bf16 [blocks of K][kBf16Planes][rows][32], zeros past the end of K.
  void (*round_row)(const float* x, int64_t k, int row, int rows, std::byte* tile);
  // sums[rows][kTileRows] = products over all of K with a tile of kBF16.
  void (*tiles)(const std::byte* weights, const RowTiles& x, int64_t k, float* sums);
};
constexpr int64_t Bf16Bytes(int64_t k) {  // of a row
  return (k + kQuantBlock - 1) / kQuantBlock * kBf16Planes * 2 * kQuantBlock;
}

}  // namespace gannet
