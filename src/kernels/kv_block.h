// Where a key or value lies inside a cache block. Per kv head: keys transposed [key_dim][kBlockTokens], then values
// [kBlockTokens][value_dim rounded up to 16]. A latent block is [kBlockTokens][key_dim rounded up to 16], zeros at the
// end of each row; a token's value is the start of its row.
#pragma once

#include <cstdint>

#include "kernels/attention.h"

namespace gannet {

inline int64_t PaddedKeyDim(const KvLayout& layout) { return (layout.key_dim + 15) / 16 * 16; }
inline int64_t PaddedValueDim(const KvLayout& layout) { return (layout.value_dim + 15) / 16 * 16; }
// Elements from a token's value to the next one's.
inline int64_t ValueStride(const KvLayout& layout) {
  return layout.latent ? PaddedKeyDim(layout) : PaddedValueDim(layout);
}

// Bytes from the start of a block to the keys of kv head `head`.
inline int64_t KeyOffset(const KvLayout& layout, int64_t head) {
  const int64_t token = layout.latent ? PaddedKeyDim(layout) : layout.key_dim + PaddedValueDim(layout);
  return head * kBlockTokens * token * BytesOf(layout.type);
}
inline int64_t ValueOffset(const KvLayout& layout, int64_t head) {
  return KeyOffset(layout, head) + (layout.latent ? 0 : kBlockTokens * layout.key_dim * BytesOf(layout.type));
}

}  // namespace gannet
