// Where a key or value lies inside a cache block. Per kv head: keys transposed [key_dim][kBlockTokens], then values
// [kBlockTokens][value_dim rounded up to 16].
#pragma once

#include <cstdint>

#include "kernels/attention.h"

namespace gannet {

inline int64_t PaddedValueDim(const KvLayout& layout) { return (layout.value_dim + 15) / 16 * 16; }

// Bytes from the start of a block to the keys of kv head `head`.
inline int64_t KeyOffset(const KvLayout& layout, int64_t head) {
  return head * kBlockTokens * (layout.key_dim + PaddedValueDim(layout)) * BytesOf(layout.type);
}
inline int64_t ValueOffset(const KvLayout& layout, int64_t head) {
  return KeyOffset(layout, head) + kBlockTokens * layout.key_dim * BytesOf(layout.type);
}

}  // namespace gannet
