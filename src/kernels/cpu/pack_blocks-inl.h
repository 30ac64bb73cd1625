// What the packers of block formats share.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/cpu/packed_tiles.h"

namespace gannet {

inline bool IsNanE4M3(std::byte code) { return (code & std::byte{0x7f}) == std::byte{0x7f}; }

inline constexpr uint32_t kSignBits = 0x80808080;  // value + 128 of int8

// Words of four quants from a row's block to their places in a tile.
inline void StoreWords(const std::byte* from, int words, std::byte* to, uint32_t flip = 0) {
  for (int g = 0; g < words; ++g, from += 4, to += 64) {
    uint32_t word;
    std::memcpy(&word, from, 4);
    word ^= flip;
    std::memcpy(to, &word, 4);
  }
}

// pack(row of the tile, block) for every row and block, a few blocks of all rows at a time: both ends stay in L1.
template <typename Pack>
void PackedTiles::ForEachBlock(int64_t index, Pack pack) const {
  constexpr int64_t kTogether = 8;
  const int64_t blocks = cols() / kQuantBlock;
  const int64_t rows_here = RowsIn(index);
  for (int64_t first = 0; first < blocks; first += kTogether) {
    const int64_t last = std::min(blocks, first + kTogether);
    for (int64_t r = 0; r < rows_here; ++r) {
      for (int64_t b = first; b < last; ++b) pack(r, b);
    }
  }
}

}  // namespace gannet
