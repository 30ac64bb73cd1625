// Attention over blocks of an int8 cache (KvType::kInt8), in integers, kInt8StepBlocks of them to a step of softmax.
//
//   score = scale_k (scale_q sum q k) for each part of the key, added in order of the parts
//   out  += unit * sum p v,  with p = round(weight * scale_v / unit), unit = the largest weight * scale_v of the step
//   / 255
//
// q are int8 with a scale for each line and part, p uint8 with a unit for each line and step; weight is
// exp(score - maximum), and softmax's divisor adds weights that are not rounded. The sums of products are exact.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/attention.h"
#include "kernels/kv_block.h"

namespace gannet {

// Blocks of a step begin at a multiple of so many.
constexpr int64_t kInt8StepBlocks = 2;
constexpr int64_t kInt8StepTokens = kInt8StepBlocks * kBlockTokens;
// A head's part of each block; null where no line looks.
using Int8Blocks = std::array<const std::byte*, kInt8StepBlocks>;

// A query: its factors for PaddedKeyDim, at most 2 bytes each, then for each part fp32 scale and int32 sum of factors.
// Where keys are multiplied as they lie, queries lie together, then the scales of each: of table amx and KeysInPlace
// sixteen, [PaddedKeyDim / 4][16 queries][4]; of a latent with VNNI or SDOT as many as a vector has sixteens of bytes,
// [PaddedKeyDim / 16][queries][16].
inline int64_t Int8QueryBytes(const KvLayout& layout) { return (2 * PaddedKeyDim(layout) + 16 + 63) / 64 * 64; }
constexpr int64_t kQueriesTogether = 16;
// Parts of whole registers of AMX, which multiplies keys as they lie in the cache, for the many heads of a latent. A
// few heads to a key are faster with VNNI.
inline bool KeysInPlace(const KvLayout& layout) {
  return layout.latent && PaddedValueDim(layout) % 64 == 0 && PaddedKeyDim(layout) % 64 == 0;
}
// A step's keys, block by block and part by part [kBlockTokens / 16][dims / 4][16 tokens][4 dims], and its values
// [dims / 16][kInt8StepTokens / 4][16 dims][4 tokens].
inline int64_t Int8TileBytes(const KvLayout& layout) {
  return kInt8StepTokens * (PaddedKeyDim(layout) + PaddedValueDim(layout));
}

struct Int8AttentionLeaves {
  // Query `line` of `queries`, whose memory holds a multiple of kQueriesTogether; of scale * q.
  void (*set_query)(const KvLayout& layout, const float* q, float scale, std::byte* queries, int64_t line);
  // Int8TileBytes of `tiles`, for more than one step over them: what is turned at all, with AMX on the way only.
  void (*make_tiles)(const KvLayout& layout, const Int8Blocks& blocks, std::byte* tiles);
  // Tokens `seen` of the blocks for `lines` queries from `line`, and their states. Unless `made`, it makes tiles of
  // what it reads. `next` will be read soon, and may be fetched meanwhile.
  void (*step)(const KvLayout& layout, const std::byte* queries, int64_t line, int64_t lines, std::byte* tiles,
               bool made, const Int8Blocks& blocks, KeySpan seen, const Int8Blocks& next, float* states);
};

}  // namespace gannet
