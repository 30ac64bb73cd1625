// Dot products of roof_loops.cc with VNNI. Included inside a namespace, more than once, as int8_dots-inl.h is.
#include "kernels/cpu/byte_vectors-inl.h"

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
