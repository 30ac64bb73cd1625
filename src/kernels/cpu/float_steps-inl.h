// Blocks of floats, for a few lines at a time.
#if defined(GANNET_KERNELS_CPU_FLOAT_STEPS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GANNET_KERNELS_CPU_FLOAT_STEPS_INL_H_
#undef GANNET_KERNELS_CPU_FLOAT_STEPS_INL_H_
#else
#define GANNET_KERNELS_CPU_FLOAT_STEPS_INL_H_
#endif

#include <algorithm>
#include <array>
#include <cstddef>
#include <span>

#include "kernels/cpu/lanes-inl.h"
#include "kernels/cpu/score_rows-inl.h"
#include "kernels/cpu/softmax_state-inl.h"
#include "kernels/kv_block.h"

HWY_BEFORE_NAMESPACE();
namespace gannet::HWY_NAMESPACE {
namespace {

// Groups of 16 lanes kept in registers for each of R lines.
constexpr int Wide(int lines) { return kLanes == 16 || lines == 1 ? 4 : lines == 2 ? 2 : 1; }

struct FloatShape {
  int64_t key_dim;       // of a line of q; padded to 16 for latent rows
  int64_t value_dim;     // padded to 16
  int64_t value_stride;  // elements between the values of two tokens
  int64_t state_floats;  // of one line
  bool latent;
};

// scores[r][16 c ...] = q[r] . keys for C groups of 16 tokens from group c. Meanwhile a cache line of `ahead` is
// fetched for each dim.
template <typename T, int R, int C>
HWY_INLINE void ScoreGroups(const FloatShape& shape, const float* q, const T* keys, int64_t c, const std::byte* ahead,
                            float* scores) {
  F32x16 sum[R][C];
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int i = 0; i < C; ++i) sum[r][i] = Broadcast(0);
  }
  for (int64_t d = 0; d < shape.key_dim; ++d) {
    F32x16 key[C];
    __builtin_prefetch(ahead + 64 * d, 0, 2);
#pragma GCC unroll 4
    for (int i = 0; i < C; ++i) key[i] = Load(keys + d * kBlockTokens + 16 * (c + i));
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
      const F32x16 factor = Broadcast(q[r * shape.key_dim + d]);
#pragma GCC unroll 4
      for (int i = 0; i < C; ++i) sum[r][i] = MulAdd(factor, key[i], sum[r][i]);
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int i = 0; i < C; ++i) Store(sum[r][i], scores + r * kBlockTokens + 16 * (c + i));
  }
}

// state[r] = state[r] * factor[r] + sum over its tokens of scores[r] * values, for C groups of 16 dims.
template <typename T, int R, int C>
HWY_INLINE void AddValues(const FloatShape& shape, const float* scores, const float* factors, const T* values,
                          const KeySpan* seen, int64_t all, int64_t c, float* states) {
  F32x16 sum[R][C];
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int i = 0; i < C; ++i) {
      sum[r][i] = Mul(Load(states + r * shape.state_floats + kCarryHeader + 16 * (c + i)), Broadcast(factors[r]));
    }
  }
  for (int64_t j = seen[0].begin; j < all; ++j) {
    F32x16 value[C];
#pragma GCC unroll 4
    for (int i = 0; i < C; ++i) value[i] = Load(values + j * shape.value_stride + 16 * (c + i));
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
      const F32x16 factor = Broadcast(scores[r * kBlockTokens + j]);
#pragma GCC unroll 4
      for (int i = 0; i < C; ++i) sum[r][i] = MulAdd(factor, value[i], sum[r][i]);
    }
  }
  // What some lines do not see they must not add, not even with weight zero: it may be NaN.
#pragma GCC unroll 4
  for (int r = 0; r < (R > 1 ? R : 0); ++r) {
    for (int64_t j = all; j < seen[r].end; ++j) {
      const F32x16 factor = Broadcast(scores[r * kBlockTokens + j]);
#pragma GCC unroll 4
      for (int i = 0; i < C; ++i) {
        sum[r][i] = MulAdd(factor, Load(values + j * shape.value_stride + 16 * (c + i)), sum[r][i]);
      }
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int i = 0; i < C; ++i) Store(sum[r][i], states + r * shape.state_floats + kCarryHeader + 16 * (c + i));
  }
}

// One block for R lines that see its tokens from the same one on, each up to its own.
template <typename T, int R>
HWY_NOINLINE void BlockStep(const FloatShape& shape, const float* q, const T* keys, const T* values,
                            const KeySpan* seen, const std::byte* ahead, float* states) {
  alignas(64) float scores[R * kBlockTokens];
  float factors[R];
  constexpr int kWide = Wide(R);
  const int64_t from = seen[0].begin;
  int64_t all = seen[0].end;  // the first token that some line does not see
  int64_t to = all;
  for (int r = 1; r < R; ++r) {
    all = std::min<int64_t>(all, seen[r].end);
    to = std::max<int64_t>(to, seen[r].end);
  }
  const int64_t last_group = (to + 15) / 16;
  int64_t c = from / 16;
  if (shape.latent) {
    ScoreRows<T, R>(q, keys, shape.key_dim, from, to, scores);
  } else {
    for (; c + kWide <= last_group; c += kWide) ScoreGroups<T, R, kWide>(shape, q, keys, c, ahead, scores);
    for (; c < last_group; ++c) ScoreGroups<T, R, 1>(shape, q, keys, c, ahead, scores);
  }
  for (int r = 0; r < R; ++r) {
    factors[r] = Soften(scores + r * kBlockTokens, from, seen[r].end, states + r * shape.state_floats);
  }
  const int64_t groups = shape.value_dim / 16;
  int64_t v = 0;
  for (; v + kWide <= groups; v += kWide) {
    AddValues<T, R, kWide>(shape, scores, factors, values, seen, all, v, states);
  }
  for (; v < groups; ++v) AddValues<T, R, 1>(shape, scores, factors, values, seen, all, v, states);
}

// The steps of attention.cc for elements of type T; outputs are in units of kUnit.
template <typename T>
class FloatSteps {
 public:
  static constexpr int64_t kBlocks = 1;
  static constexpr bool kReadsFresh = true;
  using Blocks = std::array<const std::byte*, kBlocks>;
  static constexpr int64_t kMostLines = 4;  // that share a pass over a block
  static constexpr float kUnit = sizeof(T) == 1 ? kE4M3Unit : 1.0f;
  static int64_t Floats(const KvLayout& layout, int64_t lines) { return lines * PaddedKeyDim(layout); }

  FloatSteps(const KvLayout& layout, float* memory)
      : layout_(layout),
        shape_{layout.latent ? PaddedKeyDim(layout) : layout.key_dim, PaddedValueDim(layout), ValueStride(layout),
               AttentionCarry(layout), layout.latent},
        q_(memory) {}
  void SetQuery(int64_t line, const float* q, float scale) {
    float* to = q_ + line * shape_.key_dim;
    for (int64_t d = 0; d < layout_.key_dim; ++d) to[d] = q[d] * scale * kUnit;
    std::fill(to + layout_.key_dim, to + shape_.key_dim, 0.0f);
  }
  void Open(const Blocks& blocks, int64_t head) {
    keys_ = reinterpret_cast<const T*>(blocks[0] + KeyOffset(layout_, head));
    values_ = reinterpret_cast<const T*>(blocks[0] + ValueOffset(layout_, head));
  }
  void Expect(const Blocks& blocks, int64_t head) {
    next_ = {};
    if (blocks[0]) next_ = {blocks[0] + KeyOffset(layout_, head), blocks[0] + KeyOffset(layout_, head + 1)};
  }
  static bool Together(KeySpan first, KeySpan next) {
    return next.begin == first.begin && first.begin < first.end && next.begin < next.end;
  }
  void Step(int64_t line, int64_t lines, const KeySpan* seen, float* states) {
    const float* q = q_ + line * shape_.key_dim;
    // Each step fetches its part of the next block.
    const std::byte* ahead = next_.empty() ? reinterpret_cast<const std::byte*>(keys_) : next_.data();
    next_ = next_.subspan(std::min<size_t>(next_.size(), static_cast<size_t>(64 * shape_.key_dim)));
    if (lines == 4) return BlockStep<T, 4>(shape_, q, keys_, values_, seen, ahead, states);
    if (lines == 3) return BlockStep<T, 3>(shape_, q, keys_, values_, seen, ahead, states);
    if (lines == 2) return BlockStep<T, 2>(shape_, q, keys_, values_, seen, ahead, states);
    return BlockStep<T, 1>(shape_, q, keys_, values_, seen, ahead, states);
  }

 private:
  const KvLayout& layout_;
  FloatShape shape_;
  float* q_;
  const T* keys_ = nullptr;
  const T* values_ = nullptr;
  std::span<const std::byte> next_;
};

}  // namespace
}  // namespace gannet::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
