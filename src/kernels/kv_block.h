// Where a key or value lies inside a cache block. Per kv head: keys transposed [key_dim][kBlockTokens], then values
// [kBlockTokens][value_dim rounded up to 16]. A latent block is [kBlockTokens][key_dim rounded up to 16], zeros at the
// end of each row; a token's value is the start of its row.
// kInt8 has rows everywhere: keys [kBlockTokens][key_dim rounded up to 16], values like the others, then fp32 scales
// [2][kBlockTokens] of the keys and of the values. A latent row is the latent and the rest of the key, each rounded up
// to 16 and filled with zeros, and their scales.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "kernels/attention.h"

namespace gannet {

constexpr int64_t RoundUp16(int64_t n) { return (n + 15) / 16 * 16; }
inline int64_t PaddedValueDim(const KvLayout& layout) { return RoundUp16(layout.value_dim); }
inline int64_t PaddedKeyDim(const KvLayout& layout) {
  if (layout.type != KvType::kInt8 || !layout.latent) return RoundUp16(layout.key_dim);
  return PaddedValueDim(layout) + RoundUp16(layout.key_dim - layout.value_dim);
}
// Elements from a token's value to the next one's.
inline int64_t ValueStride(const KvLayout& layout) {
  return layout.latent ? PaddedKeyDim(layout) : PaddedValueDim(layout);
}
inline bool KeysAreRows(const KvLayout& layout) { return layout.latent || layout.type == KvType::kInt8; }

// Bytes from the start of a block to the keys of kv head `head`, to its values and to its scales.
inline int64_t KeyOffset(const KvLayout& layout, int64_t head) {
  const int64_t key = KeysAreRows(layout) ? PaddedKeyDim(layout) : layout.key_dim;
  const int64_t token = (layout.latent ? key : key + PaddedValueDim(layout)) * BytesOf(layout.type);
  const int64_t scales = layout.type == KvType::kInt8 ? 2 * static_cast<int64_t>(sizeof(float)) : 0;
  return head * kBlockTokens * (token + scales);
}
inline int64_t ValueOffset(const KvLayout& layout, int64_t head) {
  const int64_t key = KeysAreRows(layout) ? PaddedKeyDim(layout) : layout.key_dim;
  return KeyOffset(layout, head) + (layout.latent ? 0 : kBlockTokens * key * BytesOf(layout.type));
}
inline int64_t ScaleOffset(const KvLayout& layout, int64_t head) {
  return KeyOffset(layout, head + 1) - 2 * kBlockTokens * static_cast<int64_t>(sizeof(float));
}

// A run of key dims that share a scale, of kInt8.
struct KeyPart {
  int64_t first;  // dim
  int64_t dims;
  int64_t place;  // of the first dim in the row
  int64_t scale;  // which of the two
};
inline std::array<KeyPart, 2> KeyParts(const KvLayout& layout) {
  if (!layout.latent) return {{{0, layout.key_dim, 0, 0}, {layout.key_dim, 0, PaddedKeyDim(layout), 0}}};
  return {
      {{0, layout.value_dim, 0, 0}, {layout.value_dim, layout.key_dim - layout.value_dim, PaddedValueDim(layout), 1}}};
}
inline int64_t ValueScale(const KvLayout& layout) { return layout.latent ? 0 : 1; }  // which of the two

}  // namespace gannet
