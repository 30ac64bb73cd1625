// Attention over paged blocks, one task of attention_plan.h at a time, and the writing of the cache.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>

#include "base/dtype.h"
#include "kernels/cpu/scratch.h"
#include "kernels/cpu/target_setup.h"
#include "kernels/cpu/targets.h"
#include "kernels/kv_block.h"

// clang-format off
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/attention.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
#include "kernels/cpu/lanes-inl.h"
#include "kernels/cpu/score_rows-inl.h"
// clang-format on

#if GANNET_IS_FAST
HWY_BEFORE_NAMESPACE();
namespace gannet::HWY_NAMESPACE {
namespace {

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();
constexpr int kMaxRun = 4;  // lines that share a pass over a block
// Groups of 16 lanes kept in registers for each of R lines.
constexpr int Wide(int lines) { return kLanes == 16 || lines == 1 ? 4 : lines == 2 ? 2 : 1; }

struct Shape {
  int64_t key_dim;       // of a line of q; padded to 16 for latent rows
  int64_t value_dim;     // padded to 16
  int64_t value_stride;  // elements between the values of two tokens
  int64_t state_floats;  // of one line
  bool latent;
  float unit;  // what a loaded key or value is to be multiplied with
};

// scores[r][16 c ...] = q[r] . keys for C groups of 16 tokens from group c.
template <typename T, int R, int C>
HWY_INLINE void ScoreGroups(const Shape& shape, const float* q, const T* keys, int64_t c, float* scores) {
  F32x16 sum[R][C];
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int i = 0; i < C; ++i) sum[r][i] = Broadcast(0);
  }
  for (int64_t d = 0; d < shape.key_dim; ++d) {
    F32x16 key[C];
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

// state[r] = state[r] * factor[r] + sum over tokens [from, to) of scores[r] * values, for C groups of 16 dims.
template <typename T, int R, int C>
HWY_INLINE void AddValues(const Shape& shape, const float* scores, const float* factors, const T* values, int64_t from,
                          int64_t to, int64_t c, float* states) {
  F32x16 sum[R][C];
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int i = 0; i < C; ++i) {
      sum[r][i] = Mul(Load(states + r * shape.state_floats + kCarryHeader + 16 * (c + i)), Broadcast(factors[r]));
    }
  }
  for (int64_t j = from; j < to; ++j) {
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
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int i = 0; i < C; ++i) Store(sum[r][i], states + r * shape.state_floats + kCarryHeader + 16 * (c + i));
  }
}

HWY_INLINE float ExpOf(float x) { return hn::GetLane(ExpOfNegative(Broadcast(x)).part[0]); }

// scores[16 from_group .. 16 to_group) of one line become exp(score - new maximum), zero outside [from, to). Updates
// the state's maximum and sum; returns what its values are to be multiplied with.
HWY_INLINE float Soften(float* scores, int64_t from, int64_t to, float* state) {
  const int64_t first = from / 16 * 16;
  const int64_t last = (to + 15) / 16 * 16;
  for (int64_t j = first; j < from; ++j) scores[j] = kMinusInfinity;
  for (int64_t j = to; j < last; ++j) scores[j] = kMinusInfinity;
  F32x16 most = Load(scores + first);
  for (int64_t j = first + 16; j < last; j += 16) most = Max(most, Load(scores + j));
  const float largest = std::max(state[0], MaxOfLanes(most));
  const float factor = state[1] == 0 ? 0.0f : ExpOf(state[0] - largest);
  F32x16 sum = Broadcast(0);
  for (int64_t j = first; j < last; j += 16) {
    const F32x16 p = ExpOfNegative(Add(Load(scores + j), Broadcast(-largest)));
    Store(p, scores + j);
    sum = Add(sum, p);
  }
  state[0] = largest;
  state[1] = state[1] * factor + SumOfLanes(sum);
  return factor;
}

// Tokens [from, to) of one block for R lines that see the same of them.
template <typename T, int R>
HWY_NOINLINE void BlockStep(const Shape& shape, const float* q, const T* keys, const T* values, int64_t from,
                            int64_t to, float* states) {
  alignas(64) float scores[R * kBlockTokens];
  float factors[R];
  constexpr int kWide = Wide(R);
  const int64_t last_group = (to + 15) / 16;
  int64_t c = from / 16;
  if (shape.latent) {
    ScoreRows<T, R>(q, keys, shape.key_dim, from, to, scores);
  } else {
    for (; c + kWide <= last_group; c += kWide) ScoreGroups<T, R, kWide>(shape, q, keys, c, scores);
    for (; c < last_group; ++c) ScoreGroups<T, R, 1>(shape, q, keys, c, scores);
  }
  for (int r = 0; r < R; ++r) {
    factors[r] = Soften(scores + r * kBlockTokens, from, to, states + r * shape.state_floats);
  }
  const int64_t groups = shape.value_dim / 16;
  int64_t v = 0;
  for (; v + kWide <= groups; v += kWide) {
    AddValues<T, R, kWide>(shape, scores, factors, values, from, to, v, states);
  }
  for (; v < groups; ++v) AddValues<T, R, 1>(shape, scores, factors, values, from, to, v, states);
}

template <typename T>
void BlockStepOf(int64_t run, const Shape& shape, const float* q, const T* keys, const T* values, int64_t from,
                 int64_t to, float* states) {
  if (run == 4) return BlockStep<T, 4>(shape, q, keys, values, from, to, states);
  if (run == 3) return BlockStep<T, 3>(shape, q, keys, values, from, to, states);
  if (run == 2) return BlockStep<T, 2>(shape, q, keys, values, from, to, states);
  return BlockStep<T, 1>(shape, q, keys, values, from, to, states);
}

// The state of two runs of keys, `more` after `state`.
void MergeState(const Shape& shape, float* state, const float* more) {
  if (more[1] == 0) return;
  if (state[1] == 0) {
    std::copy_n(more, shape.state_floats, state);
    return;
  }
  const float largest = std::max(state[0], more[0]);
  const float old_factor = ExpOf(state[0] - largest);
  const float new_factor = ExpOf(more[0] - largest);
  state[0] = largest;
  state[1] = state[1] * old_factor + more[1] * new_factor;
  for (int64_t i = kCarryHeader; i < shape.state_floats; i += 16) {
    const F32x16 kept = Mul(Load(state + i), Broadcast(old_factor));
    Store(MulAdd(Load(more + i), Broadcast(new_factor), kept), state + i);
  }
}

struct Lines {  // the task's lines, one after another
  const AttentionArgs& args;
  const AttentionTask& task;
  int64_t group;

  int64_t row(int64_t line) const { return task.sequence->row_begin + (task.first_line + line) / group; }
  int64_t head(int64_t line) const { return task.kv_head * group + (task.first_line + line) % group; }
  KeySpan span(int64_t line) const { return args.spans[static_cast<size_t>(row(line))]; }
};

Lines LinesOf(const AttentionArgs& args, const AttentionTask& task) {
  return {args, task, args.query_heads / args.pages.layout.kv_heads};
}

Shape ShapeOf(const KvLayout& layout) {
  return {layout.latent ? PaddedKeyDim(layout) : layout.key_dim,
          PaddedValueDim(layout),
          ValueStride(layout),
          AttentionCarry(layout),
          layout.latent,
          layout.type == KvType::kFp8 ? UnitOf<KvE4M3>() : 1.0f};
}

void WriteOutput(const AttentionArgs& args, const Shape& shape, const Lines& lines, int64_t line, float* state) {
  const int64_t value_dim = args.pages.layout.value_dim;
  float* out = args.out + lines.row(line) * args.out_stride + lines.head(line) * value_dim;
  float inverse = state[1] == 0 ? 0.0f : args.value_scale / state[1];
  if (args.sinks && state[1] != 0) {
    const float sink = args.sinks[lines.head(line)];
    const float largest = std::max(state[0], sink);
    const float kept = ExpOf(state[0] - largest);
    inverse = kept * args.value_scale / (state[1] * kept + ExpOf(sink - largest));
  }
  for (int64_t i = kCarryHeader; i < shape.state_floats; i += 16) {
    Store(Mul(Load(state + i), Broadcast(inverse * shape.unit)), state + i);
  }
  std::copy_n(state + kCarryHeader, value_dim, out);
}

float* CarryOf(const Lines& lines, const Shape& shape, int64_t line) {
  return lines.args.carry + (lines.row(line) * lines.args.query_heads + lines.head(line)) * shape.state_floats;
}

// Tokens of block `index` that the line sees, as offsets in the block.
HWY_INLINE KeySpan InBlock(KeySpan span, int64_t index) {
  const int64_t start = index * kBlockTokens;
  return {static_cast<int32_t>(std::clamp<int64_t>(span.begin - start, 0, kBlockTokens)),
          static_cast<int32_t>(std::clamp<int64_t>(span.end - start, 0, kBlockTokens))};
}

// One block's worth of a row's chosen keys, brought together: rows of the latent cache.
template <typename T>
const T* Gather(const AttentionArgs& args, const AttentionSequence& sequence, std::span<const int32_t> chosen) {
  static thread_local Scratch memory;
  const int64_t row = ValueStride(args.pages.layout);
  T* out = reinterpret_cast<T*>(memory.Get(kBlockTokens * row * static_cast<int64_t>(sizeof(T))));
  for (size_t i = 0; i < chosen.size(); ++i) {
    const std::byte* block = args.pages.block(sequence.blocks[static_cast<size_t>(chosen[i] / kBlockTokens)]);
    std::memcpy(out + static_cast<int64_t>(i) * row,
                block + chosen[i] % kBlockTokens * row * static_cast<int64_t>(sizeof(T)),
                static_cast<size_t>(row) * sizeof(T));
  }
  return out;
}

// RunPiece for lines of one row that sees chosen keys.
template <typename T>
void RunChosenPiece(const Lines& lines, const Shape& shape, const float* q, int64_t piece, float* states) {
  const std::span<const int32_t> chosen = lines.args.chosen->of(lines.row(0));
  const int64_t count = static_cast<int64_t>(chosen.size());
  const int64_t end = std::min(count, (piece + 1) * kPieceTokens);
  for (int64_t first = piece * kPieceTokens; first < end; first += kBlockTokens) {
    const int64_t tokens = std::min(kBlockTokens, end - first);
    const T* rows = Gather<T>(lines.args, *lines.task.sequence,
                              chosen.subspan(static_cast<size_t>(first), static_cast<size_t>(tokens)));
    for (int64_t line = 0; line < lines.task.lines; line += kMaxRun) {
      BlockStepOf<T>(std::min<int64_t>(kMaxRun, lines.task.lines - line), shape, q + line * shape.key_dim, rows, rows,
                     0, tokens, states + line * shape.state_floats);
    }
  }
}

template <typename T>
void RunPiece(const Lines& lines, const Shape& shape, const float* q, int64_t piece, float* states) {
  const KvPages& pages = lines.args.pages;
  const AttentionTask& task = lines.task;
  for (int64_t line = 0; line < task.lines; ++line) {
    float* state = states + line * shape.state_floats;
    std::fill_n(state, shape.state_floats, 0.0f);
    state[0] = kMinusInfinity;
  }
  if (lines.args.chosen) return RunChosenPiece<T>(lines, shape, q, piece, states);
  int64_t begin = std::numeric_limits<int64_t>::max();
  int64_t end = 0;
  for (int64_t line = 0; line < task.lines; ++line) {
    const KeySpan span = lines.span(line);
    if (span.begin >= span.end) continue;
    begin = std::min<int64_t>(begin, span.begin);
    end = std::max<int64_t>(end, span.end);
  }
  begin = std::max(begin, piece * kPieceTokens);
  end = std::min(end, (piece + 1) * kPieceTokens);
  for (int64_t index = begin / kBlockTokens; index * kBlockTokens < end; ++index) {
    const T* keys = nullptr;
    const T* values = nullptr;
    for (int64_t line = 0; line < task.lines;) {
      const KeySpan seen = InBlock(lines.span(line), index);
      int64_t run = 1;
      while (run < kMaxRun && line + run < task.lines) {
        const KeySpan next = InBlock(lines.span(line + run), index);
        if (next.begin != seen.begin || next.end != seen.end) break;
        ++run;
      }
      if (seen.begin < seen.end) {
        if (!keys) {
          const std::byte* block = pages.block(task.sequence->blocks[static_cast<size_t>(index)]);
          keys = reinterpret_cast<const T*>(block + KeyOffset(pages.layout, task.kv_head));
          values = reinterpret_cast<const T*>(block + ValueOffset(pages.layout, task.kv_head));
        }
        BlockStepOf<T>(run, shape, q + line * shape.key_dim, keys, values, seen.begin, seen.end,
                       states + line * shape.state_floats);
      }
      line += run;
    }
  }
}

template <typename T>
void RunOf(const AttentionArgs& args, const AttentionTask& task) {
  const Shape shape = ShapeOf(args.pages.layout);
  const Lines lines = LinesOf(args, task);
  const int64_t key_dim = args.pages.layout.key_dim;
  static thread_local Scratch memory;
  const int64_t state_floats = task.lines * shape.state_floats;
  float* total = memory.Floats(2 * state_floats + task.lines * shape.key_dim);
  float* states = total + state_floats;
  float* q = states + state_floats;
  for (int64_t line = 0; line < task.lines; ++line) {
    const float* from = args.q + lines.row(line) * args.q_stride + lines.head(line) * key_dim;
    float* to = q + line * shape.key_dim;
    for (int64_t d = 0; d < key_dim; ++d) to[d] = from[d] * args.scale * shape.unit;
    std::fill(to + key_dim, to + shape.key_dim, 0.0f);
  }
  if (task.states) return RunPiece<T>(lines, shape, q, task.first_piece, task.states);
  for (int64_t line = 0; line < task.lines; ++line) {
    float* state = total + line * shape.state_floats;
    if (args.carry) {
      std::copy_n(CarryOf(lines, shape, line), shape.state_floats, state);
    } else {
      std::fill_n(state, shape.state_floats, 0.0f);
    }
  }
  for (int64_t piece = 0; piece < task.pieces; ++piece) {
    RunPiece<T>(lines, shape, q, task.first_piece + piece, states);
    for (int64_t line = 0; line < task.lines; ++line) {
      MergeState(shape, total + line * shape.state_floats, states + line * shape.state_floats);
    }
  }
  for (int64_t line = 0; line < task.lines; ++line) {
    float* state = total + line * shape.state_floats;
    if (args.carry) std::copy_n(state, shape.state_floats, CarryOf(lines, shape, line));
    WriteOutput(args, shape, lines, line, state);
  }
}

void Run(const AttentionArgs& args, const AttentionTask& task) {
  if (args.pages.layout.type == KvType::kF32) return RunOf<float>(args, task);
  if (args.pages.layout.type == KvType::kF16) return RunOf<hwy::float16_t>(args, task);
  if (args.pages.layout.type == KvType::kFp8) return RunOf<KvE4M3>(args, task);
  return RunOf<hwy::bfloat16_t>(args, task);
}

void Merge(const AttentionArgs& args, const AttentionTask& task) {
  const Shape shape = ShapeOf(args.pages.layout);
  const Lines lines = LinesOf(args, task);
  for (int64_t line = 0; line < task.lines; ++line) {
    float* state = task.states + line * shape.state_floats;
    for (int64_t piece = 1; piece < task.pieces; ++piece) {
      MergeState(shape, state, state + piece * task.lines * shape.state_floats);
    }
    WriteOutput(args, shape, lines, line, state);
  }
}

}  // namespace

extern const AttentionLeaves kAttentionLeaves = {Run, Merge};

}  // namespace gannet::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif  // GANNET_IS_FAST
