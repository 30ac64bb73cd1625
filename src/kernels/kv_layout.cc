#include <algorithm>
#include <cstring>

#include "base/dtype.h"
#include "kernels/kv_block.h"

namespace gannet {

int64_t BytesOf(KvType type) {
  return type == KvType::kF32 ? 4 : type == KvType::kFp8 || type == KvType::kInt8 ? 1 : 2;
}

std::string_view NameOf(KvType type) {
  switch (type) {
    case KvType::kF32:
      return "f32";
    case KvType::kF16:
      return "f16";
    case KvType::kBF16:
      return "bf16";
    case KvType::kFp8:
      return "fp8";
    case KvType::kInt8:
      return "int8";
  }
  return "?";
}

int64_t KvLayout::block_bytes() const { return KeyOffset(*this, kv_heads); }

int64_t AttentionCarry(const KvLayout& layout) { return kCarryHeader + PaddedValueDim(layout); }

KeySpan HullOf(std::span<const KeySpan> spans) {
  KeySpan hull;
  for (const KeySpan& span : spans) {
    if (span.begin >= span.end) continue;
    if (hull.end == 0) hull = span;
    hull = {std::min(hull.begin, span.begin), std::max(hull.end, span.end)};
  }
  return hull;
}

void LoadLatents(const LatentLoadArgs& args, ThreadPool& pool) {
  const KvLayout& layout = args.pages.layout;
  const int64_t row_bytes = PaddedKeyDim(layout) * BytesOf(layout.type);
  pool.ParallelFor((args.count + kBlockTokens - 1) / kBlockTokens, [&](int64_t task, int) {
    for (int64_t i = task * kBlockTokens; i < args.count && i < (task + 1) * kBlockTokens; ++i) {
      const int64_t position = args.first + i;
      const int32_t block = args.blocks[static_cast<size_t>(position / kBlockTokens)];
      const int64_t token = position % kBlockTokens;
      const std::byte* row = args.pages.block(block) + token * row_bytes;
      float* out = args.out + i * args.out_stride;
      if (layout.type == KvType::kF32) {
        std::memcpy(out, row, static_cast<size_t>(layout.key_dim) * sizeof(float));
        continue;
      }
      if (layout.type == KvType::kInt8) {
        for (const KeyPart& part : KeyParts(layout)) {
          float scale;
          std::memcpy(&scale,
                      args.pages.block(block) + ScaleOffset(layout, 0) + 4 * (part.scale * kBlockTokens + token),
                      sizeof(scale));
          for (int64_t d = 0; d < part.dims; ++d) {
            out[part.first + d] = scale * static_cast<float>(std::to_integer<int8_t>(row[part.place + d]));
          }
        }
        continue;
      }
      if (layout.type == KvType::kFp8) {
        for (int64_t d = 0; d < layout.key_dim; ++d) out[d] = kE4M3.values[std::to_integer<size_t>(row[d])];
        continue;
      }
      const auto* bits = reinterpret_cast<const uint16_t*>(row);
      for (int64_t d = 0; d < layout.key_dim; ++d) {
        out[d] = layout.type == KvType::kF16 ? F16ToFloat(bits[d]) : BF16ToFloat(bits[d]);
      }
    }
  });
}

}  // namespace gannet
