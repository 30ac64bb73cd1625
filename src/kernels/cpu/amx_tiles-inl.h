// Tile registers of AMX (Intel SDM, volume 1, "Programming with Intel AMX"): eight of up to 16 rows by 64 bytes. In
// assembly, because the intrinsics of GCC 12 do not say that they touch memory.
#pragma once

#include <cstddef>
#include <cstdint>

namespace gannet {

// The memory operand of LDTILECFG, palette 1.
struct alignas(64) TileShapes {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};
  void Set(int tile, int64_t rows_of_tile, int64_t bytes) {
    rows[tile] = static_cast<uint8_t>(rows_of_tile);
    row_bytes[tile] = static_cast<uint16_t>(bytes);
  }
};

// This thread's tiles have shapes while one of these lives; about 50 ns.
class Tiles {
 public:
  explicit Tiles(const TileShapes& shapes) { Shape(shapes); }
  ~Tiles() { asm volatile("tilerelease" : : : "memory"); }
  Tiles(const Tiles&) = delete;
  Tiles& operator=(const Tiles&) = delete;
  // Other shapes from now on; all tiles are zero.
  void Shape(const TileShapes& shapes) { asm volatile("ldtilecfg %0" : : "m"(shapes) : "memory"); }
};

template <int kTile>
inline void ZeroTile() {
  asm volatile("tilezero %%tmm%c0" : : "i"(kTile));
}
// Rows of memory `stride` bytes apart. The operands that no instruction names say which memory it is: "memory" would
// make the compiler put every sum of the loop back into its array.
template <int kTile>
inline void LoadTile(const void* from, int64_t stride) {
  asm volatile("tileloadd (%0,%1,1), %%tmm%c2"
               :
               : "r"(from), "r"(stride), "i"(kTile), "m"(*static_cast<const char(*)[]>(from)));
}
template <int kTile>
inline void StoreTile(void* to, int64_t stride) {
  asm volatile("tilestored %%tmm%c3, (%1,%2,1)" : "=m"(*static_cast<char(*)[]>(to)) : "r"(to), "r"(stride), "i"(kTile));
}
// kSum += kA [rows][4 k] of signed bytes * kB [k][16 columns, four bytes of k side by side].
template <int kSum, int kA, int kB>
inline void AddInt8Products() {
  asm volatile("tdpbssd %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(kSum), "i"(kA), "i"(kB));
}
// The same with unsigned bytes in kA.
template <int kSum, int kA, int kB>
inline void AddUnsignedBySigned() {
  asm volatile("tdpbusd %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(kSum), "i"(kA), "i"(kB));
}
// kSum += kA [rows][pairs of bf16] * kB [pairs][16 columns, two of the pair side by side].
template <int kSum, int kA, int kB>
inline void AddBf16Products() {
  asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(kSum), "i"(kA), "i"(kB));
}

}  // namespace gannet
