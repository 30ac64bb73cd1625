// Dot products of roof_loops.cc with VNNI, or AMX. Included inside a namespace, more than once, as int8_dots-inl.h is.
#include "kernels/cpu/byte_vectors-inl.h"

#ifdef GANNET_INT8_AMX
// Zeros in all registers.
template <class Round>
HWY_INLINE uint64_t DotsOfTiles(int64_t rounds, Round round) {
  alignas(64) int32_t sums[16 * 16];
  TileShapes shapes;
  for (int i = 0; i < 6; ++i) shapes.Set(i, 16, 64);
  const Tiles tiles(shapes);
  for (int64_t i = 0; i < rounds; ++i) round();
  StoreTile<0>(sums, 64);
  return static_cast<uint64_t>(sums[0]);
}
uint64_t Dots(int64_t rounds) {
  return DotsOfTiles(rounds, [] {
    AddInt8Products<0, 4, 5>();
    AddInt8Products<1, 4, 5>();
    AddInt8Products<2, 4, 5>();
    AddInt8Products<3, 4, 5>();
  });
}
constexpr int64_t kDotOperations = int64_t{4} * 2 * 16 * 16 * 64;
uint64_t Bf16Dots(int64_t rounds) {
  return DotsOfTiles(rounds, [] {
    AddBf16Products<0, 4, 5>();
    AddBf16Products<1, 4, 5>();
    AddBf16Products<2, 4, 5>();
    AddBf16Products<3, 4, 5>();
  });
}
constexpr int64_t kBf16Operations = kDotOperations / 2;
#else
constexpr uint64_t (*Bf16Dots)(int64_t rounds) = nullptr;
constexpr int64_t kBf16Operations = 0;
uint64_t Dots(int64_t rounds) {
  Bytes sums[kChains];
  for (Bytes& sum : sums) sum = SetWords(0);
  Bytes x = SetWords(0x01010101);
  for (int64_t i = 0; i < rounds; ++i) {
    x = Pinned(x);
#pragma GCC unroll 10
    for (int c = 0; c < kChains; ++c) sums[c] = AddDots(sums[c], x, x);
  }
  for (int c = 1; c < kChains; ++c) sums[0] = Add32(sums[0], sums[c]);
  uint64_t first;
  __builtin_memcpy(&first, &sums[0], sizeof(first));
  return first;
}
constexpr int64_t kDotOperations = kChains * 2 * static_cast<int64_t>(sizeof(Bytes));
#endif
