// Products of fp32 rows, as three planes of bf16, with tiles of bf16 in the tile registers of AMX.
#include "kernels/cpu/matmul_amx.h"
#include "kernels/cpu/target_setup.h"

#if defined(__x86_64__) && !(HWY_DISABLED_TARGETS & HWY_AVX3)

// GCC 12 takes what its own intrinsics leave undefined on purpose for a mistake (GCC bug 105593).
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>

#include <algorithm>
#include <array>
#include <type_traits>

#include "kernels/cpu/amx_tiles-inl.h"

// clang-format off
#include <hwy/base.h>
// clang-format on

HWY_PUSH_ATTRIBUTES("avx512f,avx512vl,avx512dq,avx512bw,avx512bf16")

namespace gannet {
namespace {

// Tile registers: sums of two row tiles by two halves of a weight tile, the rows, the weights.
constexpr int kSums = 0;     // + 2 * row tile + half
constexpr int kRows = 4;     // + row tile
constexpr int kWeights = 6;  // + half

constexpr int kPlanes = kBf16Planes;
constexpr int64_t kLine = 64;                       // a row of a tile register: 32 bf16
constexpr int64_t kHalfBytes = 16 * kLine;          // 16 pairs of a block by 16 weight rows
constexpr int64_t kUnpackedBytes = 2 * kHalfBytes;  // of a block
constexpr int64_t kBlocks = 16;                     // 32 KB, that stay in L1 while rows pass by
constexpr int64_t kBlocksOfFew = 2;                 // where weights come from memory all the time
constexpr int64_t kPrefetchBytes = 1024;

// Words at(0), at(1), ... of a vector.
template <class At>
constexpr std::array<uint16_t, 32> Words(At at) {
  std::array<uint16_t, 32> out{};
  for (int i = 0; i < 32; ++i) out[static_cast<size_t>(i)] = static_cast<uint16_t>(at(i));
  return out;
}
inline __m512i Load(const void* from) { return _mm512_loadu_si512(from); }

// Pairs of K side by side. Rows of K past the end are zeros.
void Unpack(const std::byte* weights, int64_t b, int64_t k, std::byte* out) {
  static constexpr std::array<uint16_t, 32> kFirst = Words([](int i) { return i / 2 + 32 * (i % 2); });
  static constexpr std::array<uint16_t, 32> kSecond = Words([](int i) { return 16 + i / 2 + 32 * (i % 2); });
  const __m512i first = Load(kFirst.data());
  const __m512i second = Load(kSecond.data());
  const int64_t left = k - kQuantBlock * b;
  const std::byte* const block = weights + kQuantBlock * kLine * b;
  const auto row = [&](int i) { return i < left ? Load(block + kLine * i) : _mm512_setzero_si512(); };
#pragma GCC unroll 4
  for (int i = 0; i < 16; ++i) {
    __builtin_prefetch(block + kPrefetchBytes + 2 * kLine * i);
    __builtin_prefetch(block + kPrefetchBytes + 2 * kLine * i + kLine);
    const __m512i even = row(2 * i);
    const __m512i odd = row(2 * i + 1);
    _mm512_store_si512(out + kLine * i, _mm512_permutex2var_epi16(even, first, odd));
    _mm512_store_si512(out + kHalfBytes + kLine * i, _mm512_permutex2var_epi16(even, second, odd));
  }
}

inline __m512i Join(__m256bh low, __m256bh high) {
  return _mm512_inserti64x4(_mm512_castsi256_si512(reinterpret_cast<__m256i>(low)), reinterpret_cast<__m256i>(high), 1);
}
inline __m512 Widen(__m256bh half) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(reinterpret_cast<__m256i>(half)), 16));
}
// What rounding left of x; nothing where it made no number.
inline __m512 Rest(__m512 x, __m256bh rounded) {
  constexpr int kNoNumber = 0x01 | 0x08 | 0x10 | 0x80;  // NaN, infinities
  const __m512 value = Widen(rounded);
  return _mm512_maskz_sub_ps(static_cast<__mmask16>(~_mm512_fpclass_ps_mask(value, kNoNumber)), x, value);
}

void RoundRow(const float* x, int64_t k, int row, int rows, std::byte* tile) {
  std::byte* to = tile + kLine * row;
  for (int64_t first = 0; first < k; first += kQuantBlock) {
    const uint64_t left = static_cast<uint64_t>(std::min<int64_t>(k - first, kQuantBlock));
    const uint32_t mask = static_cast<uint32_t>((uint64_t{1} << left) - 1);
    __m512 low = _mm512_maskz_loadu_ps(static_cast<__mmask16>(mask), x + first);
    __m512 high = _mm512_maskz_loadu_ps(static_cast<__mmask16>(mask >> 16), x + first + 16);
    for (int plane = 0; plane < kPlanes; ++plane, to += kLine * rows) {
      const __m256bh a = _mm512_cvtneps_pbh(low);
      const __m256bh b = _mm512_cvtneps_pbh(high);
      _mm512_storeu_si512(to, Join(a, b));
      low = Rest(low, a);
      high = Rest(high, b);
    }
  }
}

// The rows of one or two row tiles, and where their sums are.
struct RowPair {
  const std::byte* x[2];
  int64_t rows[2];  // the second may be none
  float* sums[2];
};

TileShapes ShapesOf(const RowPair& pair) {
  TileShapes shapes;
  for (int i = 0; i < 2; ++i) {
    const int64_t rows = std::max<int64_t>(pair.rows[i], 1);
    shapes.Set(kSums + 2 * i, rows, kLine);
    shapes.Set(kSums + 2 * i + 1, rows, kLine);
    shapes.Set(kRows + i, rows, kLine);
    shapes.Set(kWeights + i, 16, kLine);
  }
  return shapes;
}

constexpr int64_t kSumStride = kTileRows * sizeof(float);

// Calls one(row tile, half) for each register of sums.
template <bool kTwo, class One>
inline void EachSum(One one) {
  one(std::integral_constant<int, 0>(), std::integral_constant<int, 0>());
  one(std::integral_constant<int, 0>(), std::integral_constant<int, 1>());
  if constexpr (kTwo) {
    one(std::integral_constant<int, 1>(), std::integral_constant<int, 0>());
    one(std::integral_constant<int, 1>(), std::integral_constant<int, 1>());
  }
}
template <bool kTwo>
void ZeroSums() {
  EachSum<kTwo>([](auto tile, auto half) { ZeroTile<kSums + 2 * tile.value + half.value>(); });
}
template <bool kTwo>
void LoadSums(const RowPair& pair) {
  EachSum<kTwo>([&](auto tile, auto half) {
    LoadTile<kSums + 2 * tile.value + half.value>(pair.sums[tile.value] + 16 * half.value, kSumStride);
  });
}
template <bool kTwo>
void StoreSums(const RowPair& pair) {
  EachSum<kTwo>([&](auto tile, auto half) {
    StoreTile<kSums + 2 * tile.value + half.value>(pair.sums[tile.value] + 16 * half.value, kSumStride);
  });
}

// Blocks [first, last), `weights` those of `first`.
template <bool kTwo>
void AddBlocks(const RowPair& pair, const std::byte* weights, int64_t first, int64_t last) {
  for (int64_t b = first; b < last; ++b, weights += kUnpackedBytes) {
    LoadTile<kWeights>(weights, kLine);
    LoadTile<kWeights + 1>(weights + kHalfBytes, kLine);
#pragma GCC unroll 3
    for (int plane = 0; plane < kPlanes; ++plane) {
      const int64_t at = (b * kPlanes + plane) * kLine;
      LoadTile<kRows>(pair.x[0] + at * pair.rows[0], kLine);
      AddBf16Products<kSums, kRows, kWeights>();
      AddBf16Products<kSums + 1, kRows, kWeights + 1>();
      if constexpr (kTwo) {
        LoadTile<kRows + 1>(pair.x[1] + at * pair.rows[1], kLine);
        AddBf16Products<kSums + 2, kRows + 1, kWeights>();
        AddBf16Products<kSums + 3, kRows + 1, kWeights + 1>();
      }
    }
  }
}

void TilesOfBf16(const std::byte* weights, const RowTiles& x, int64_t k, float* sums) {
  const int64_t blocks = (k + kQuantBlock - 1) / kQuantBlock;
  const auto pair_at = [&](int64_t i) {
    const int64_t second = std::min(i + 1, x.count() - 1);
    return RowPair{{x.at(i), x.at(second)},
                   {x.rows_in(i), second > i ? x.rows_in(second) : 0},
                   {sums + i * x.tile_rows * kTileRows, sums + second * x.tile_rows * kTileRows}};
  };
  alignas(kLine) std::byte unpacked[kBlocks * kUnpackedBytes];
  const TileShapes whole = ShapesOf(pair_at(0));
  Tiles tiles(whole);
  const bool one_pair = x.count() <= 2;  // whose sums stay in their registers
  const int64_t step = one_pair ? kBlocksOfFew : kBlocks;
  for (int64_t first = 0; first < blocks; first += step) {
    const int64_t last = std::min(blocks, first + step);
    for (int64_t b = first; b < last; ++b) Unpack(weights, b, k, unpacked + (b - first) * kUnpackedBytes);
    for (int64_t i = 0; i < x.count(); i += 2) {
      const RowPair pair = pair_at(i);
      const bool reshape = i > 0 && x.rows - i * x.tile_rows < 2 * x.tile_rows;
      if (reshape) tiles.Shape(ShapesOf(pair));
      const auto add = [&](auto two) {
        constexpr bool kTwo = decltype(two)::value;
        if (first == 0) {
          ZeroSums<kTwo>();
        } else if (!one_pair) {
          LoadSums<kTwo>(pair);
        }
        AddBlocks<kTwo>(pair, unpacked, first, last);
        if (!one_pair || last == blocks) StoreSums<kTwo>(pair);
      };
      pair.rows[1] > 0 ? add(std::true_type()) : add(std::false_type());
      if (reshape) tiles.Shape(whole);
    }
  }
}

}  // namespace

extern const Bf16Leaves kAmxBf16Leaves = {RoundRow, TilesOfBf16};

}  // namespace gannet

HWY_POP_ATTRIBUTES
#endif
