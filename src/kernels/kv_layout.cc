#include "kernels/kv_block.h"

namespace gannet {

int64_t BytesOf(KvType type) { return type == KvType::kF32 ? 4 : 2; }

int64_t KvLayout::block_bytes() const { return KeyOffset(*this, kv_heads); }

}  // namespace gannet
