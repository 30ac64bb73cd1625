// Tiles of GGUF's K-quants and five-bit blocks (block layouts: ggml-common.h).
#include "base/result.h"
#include "kernels/cpu/pack_blocks-inl.h"

namespace gannet {
namespace {

int Byte(const std::byte* from) { return std::to_integer<int>(*from); }

// Sub-block s of Q4_K and Q5_K: six bits each of scale and minimum out of 12 bytes.
void SixBits(const std::byte* in, int64_t s, std::byte* scale, std::byte* minimum) {
  if (s < 4) {
    *scale = in[s] & std::byte{63};
    *minimum = in[s + 4] & std::byte{63};
  } else {
    *scale = (in[s + 4] & std::byte{15}) | in[s - 4] >> 6 << 4;
    *minimum = in[s + 4] >> 4 | in[s] >> 6 << 4;
  }
}

}  // namespace

// Q5_0: f16 scale, 32 fifth bits, 16 bytes of nibbles (value j + 16 above value j), values less 16. Q5_1: f16 scale and
// minimum before the bits.
void PackedTiles::PackFiveBitTile(int64_t index, const Place& to) const {
  const bool has_min = kind_ == TileKind::kQ8Min;
  const int64_t block_bytes = InfoOf(weight_.storage).block_bytes;
  ForEachBlock(index, [&](int64_t r, int64_t b) {
    const std::byte* from = weight_.row(index * kTileRows + r) + b * block_bytes;
    std::byte* block = to.data + b * BlockBytes(kind_);
    std::memcpy(block + 2 * r, from, 2);
    if (has_min) std::memcpy(block + 64 + 2 * r, from + 2, 2);
    from += has_min ? 4 : 2;
    uint32_t fifth;
    std::memcpy(&fifth, from, 4);
    std::byte codes[kQuantBlock];
    for (int i = 0; i < kQuantBlock; ++i) {
      const int nibble = i < 16 ? Byte(from + 4 + i) & 15 : Byte(from + 4 + i - 16) >> 4;
      codes[i] = static_cast<std::byte>((nibble | static_cast<int>(fifth >> i & 1) << 4) + 128 - (has_min ? 0 : 16));
    }
    StoreWords(codes, 8, QuantsOf(block, r));
  });
}

void PackedTiles::PackKTile(int64_t index, const Place& to) const {
  ForEachBlock(index, [&](int64_t r, int64_t b) {
    const int64_t s = b % kBlocksOfK;
    const std::byte* from = weight_.row(index * kTileRows + r) + b / kBlocksOfK * InfoOf(weight_.storage).block_bytes;
    std::byte* header = to.data + BlockOffset(kind_, FirstOfK(b));
    std::byte* block = to.data + BlockOffset(kind_, b) + kHeaderOfK;
    std::byte* quants = QuantsOf(block, r);
    std::byte codes[kQuantBlock];
    if (kind_ == TileKind::kQ6K) {  // low nibbles [128], two high bits of each [64], s8 scales of 16 values [16], f16 d
      std::memcpy(header + 2 * r, from + 208, 2);
      block[r] = from[192 + 2 * s];
      block[32 + r] = from[192 + 2 * s + 1];
      const std::byte* low = from + s / 4 * 64 + s % 2 * 32;
      const std::byte* high = from + 128 + s / 4 * 32;
      for (int i = 0; i < kQuantBlock; ++i) {
        const int nibble = Byte(low + i) >> (s % 4 / 2 * 4) & 15;
        codes[i] = static_cast<std::byte>((nibble | (Byte(high + i) >> (s % 4 * 2) & 3) << 4) + 96);
      }
      return StoreWords(codes, 8, quants);
    }
    std::memcpy(header + 2 * r, from, 2);  // f16 d, f16 dmin, twelve bytes of six-bit scales and minima
    std::memcpy(header + 64 + 2 * r, from + 2, 2);
    SixBits(from + 4, s, block + r, block + 32 + r);
    const bool five = kind_ == TileKind::kQ5K;
    const std::byte* high = from + 16;  // the fifth bits of Q5_K: bit s of byte i is that of value i
    const std::byte* low = high + (five ? 32 : 0) + s / 2 * 32;
    for (int i = 0; i < kQuantBlock; ++i) {
      const int nibble = Byte(low + i) >> (s % 2 * 4) & 15;
      codes[i] = static_cast<std::byte>(five ? (nibble | (Byte(high + i) >> s & 1) << 4) + 128 : nibble);
    }
    if (five) return StoreWords(codes, 8, quants);
    for (int i = 0; i < 16; ++i) codes[i] |= codes[i + 16] << 4;
    StoreWords(codes, 4, quants);
  });
}

}  // namespace gannet
