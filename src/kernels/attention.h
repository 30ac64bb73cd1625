// Grouped attention over a paged cache: prompt rows and generated rows in one call.
//
//   out[r, h, :] = softmax_j(scale * q[r, h, :] . key[j, h / group, :]) value[j, h / group, :]
//
// with j over the row's own keys [spans[r].begin, spans[r].end). A row that sees nothing gives zeros. With sinks,
// softmax has one more term per head, exp(sinks[h]), that carries no value. Order of additions: keys are taken in
// blocks of kBlockTokens, of kInt8 two at a time, aligned to position 0, in order; kPieceTokens of them make a piece;
// pieces are merged in order. It depends on the row's positions alone. A row that sees chosen keys takes them in the
// same way, as if they lay at positions 0, 1, ...
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/thread_pool.h"

namespace gannet {

inline constexpr int64_t kBlockTokens = 64;
inline constexpr int64_t kPieceTokens = 512;

// kFp8: e4m3, no scale. kInt8: integers in [-127, 127], with an fp32 scale for each token's key and one for its value;
// in a latent layout one for the latent and one for the rest of the key. Kernels but the reference multiply them with
// int8 queries (a scale for each head and part) and uint8 probabilities (a scale for each head and two blocks).
enum class KvType : uint8_t { kF32, kF16, kBF16, kFp8, kInt8 };
int64_t BytesOf(KvType type);          // of an element
std::string_view NameOf(KvType type);  // "f32", ...: the argument of --kv-type

// How one block of one layer lies in memory is the kernels' own affair; everyone else asks for its size.
struct KvLayout {
  int64_t kv_heads = 0;
  int64_t key_dim = 0;
  int64_t value_dim = 0;
  KvType type = KvType::kF32;
  // One head whose values are the first value_dim of its key (the latent cache): each token is stored once.
  bool latent = false;
  // Bytes of one block of kBlockTokens tokens, a multiple of 64. Same for every kernel table.
  int64_t block_bytes() const;
};

// Cache memory of one layer: block b starts at base + b * block_stride, 64-byte aligned.
struct KvPages {
  std::byte* base = nullptr;
  int64_t block_stride = 0;
  KvLayout layout;
  std::byte* block(int64_t b) const { return base + b * block_stride; }
};

// Writes rows of keys and values into the cache.
struct KvStoreArgs {
  const float* keys = nullptr;    // [rows, kv_heads * key_dim]
  int64_t key_stride = 0;         // floats between rows
  const float* values = nullptr;  // [rows, kv_heads * value_dim]; null for a latent layout
  int64_t value_stride = 0;
  std::span<const int64_t> slots;  // [rows]: block * kBlockTokens + offset in it
  KvPages pages;
};

// Reads keys of a latent layout back as fp32: out[i, :key_dim] is what position first + i holds.
struct LatentLoadArgs {
  KvPages pages;
  std::span<const int32_t> blocks;  // block of positions [64 i, 64 i + 64)
  int64_t first = 0;
  int64_t count = 0;
  float* out = nullptr;
  int64_t out_stride = 0;
};
void LoadLatents(const LatentLoadArgs& args, ThreadPool& pool);  // the same for every table

struct KeySpan {
  int32_t begin = 0;  // first position seen
  int32_t end = 0;    // one past the last
};
// Consecutive rows [row_begin, row_begin + row_count) of the call that share one block table.
struct AttentionSequence {
  int64_t row_begin = 0;
  int64_t row_count = 0;
  std::span<const int32_t> blocks;  // block of positions [64 i, 64 i + 64); -1 where no row of this call looks
};
// For every row of a call at most `stride` positions, ascending.
struct ChosenKeys {
  int32_t* positions = nullptr;  // [rows, stride]
  int32_t* counts = nullptr;     // [rows]
  int64_t stride = 0;
  std::span<const int32_t> of(int64_t row) const {
    return {positions + row * stride, static_cast<size_t>(counts[row])};
  }
};
struct AttentionArgs {
  const float* q = nullptr;  // [rows, query_heads * key_dim]
  int64_t q_stride = 0;
  float* out = nullptr;  // [rows, query_heads * value_dim]
  int64_t out_stride = 0;
  int64_t query_heads = 0;  // a multiple of kv_heads
  float scale = 1;
  KvPages pages;
  std::span<const AttentionSequence> sequences;
  std::span<const KeySpan> spans = {};  // [rows]
  const ChosenKeys* chosen = nullptr;   // of a latent layout: rows see these keys, and `spans` is not looked at
  const float* sinks = nullptr;         // [query_heads] or null
  float value_scale = 1;                // multiplies the output
  // [rows, query_heads, AttentionCarry(layout)] or null: softmax states to go on from. They are all zero before the
  // first call; each call merges the pieces it sees into them, in order, and writes `out` from the result. Calls over
  // consecutive pieces give the bits of one call over all of them.
  float* carry = nullptr;
};
// Floats of one softmax state: running maximum, sum of exponentials (zero: no key was seen), padding up to
// kCarryHeader, then the weighted sum of values padded to 16.
inline constexpr int64_t kCarryHeader = 16;
int64_t AttentionCarry(const KvLayout& layout);
// The smallest span that holds every span which sees something; empty when none does.
KeySpan HullOf(std::span<const KeySpan> spans);

}  // namespace gannet
