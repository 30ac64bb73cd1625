// Attention over paged blocks, one task of attention_plan.h at a time. What a block does to the lines that see it is
// the affair of a Steps class, one per kind of cache: SetQuery of every line, then Open kBlocks of them (null where no
// line looks), say which to Expect next, and Step over them with as many lines as go Together; Step has the spans of
// the first kSpansOfRun, and kReadsFresh says whether it reads the values of states that nothing was added to.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>
#include <utility>

#include "kernels/cpu/attention_int8.h"
#include "kernels/cpu/scratch.h"
#include "kernels/cpu/target_setup.h"
#include "kernels/cpu/targets.h"
#include "kernels/kv_block.h"

// clang-format off
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/attention.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
#include "kernels/cpu/float_steps-inl.h"
#include "kernels/cpu/lanes-inl.h"
#include "kernels/cpu/softmax_state-inl.h"
// clang-format on

#if GANNET_IS_FAST
HWY_BEFORE_NAMESPACE();
namespace gannet::HWY_NAMESPACE {
namespace {

constexpr int64_t kSpansOfRun = FloatSteps<float>::kMostLines;

// The steps of int8 blocks. A block is opened once for all lines.
class Int8Steps {
 public:
  static constexpr int64_t kMostLines = std::numeric_limits<int64_t>::max();
  static constexpr int64_t kBlocks = kInt8StepBlocks;
  static constexpr bool kReadsFresh = false;
  using Blocks = Int8Blocks;
  static int64_t Floats(const KvLayout& layout, int64_t lines) {
    const int64_t queries = (lines + kQueriesTogether - 1) / kQueriesTogether * kQueriesTogether;
    return (queries * Int8QueryBytes(layout) + Int8TileBytes(layout)) / static_cast<int64_t>(sizeof(float));
  }

  Int8Steps(const KvLayout& layout, const Int8AttentionLeaves& leaves, int64_t lines, float* memory)
      : layout_(layout),
        leaves_(leaves),
        lines_(lines),
        tiles_(reinterpret_cast<std::byte*>(memory)),
        queries_(tiles_ + Int8TileBytes(layout)) {}
  void SetQuery(int64_t line, const float* q, float scale) { leaves_.set_query(layout_, q, scale, queries_, line); }
  void Open(const Blocks& blocks, int64_t head) {
    blocks_ = OfHead(blocks, head);
    made_ = false;
  }
  static bool Together(KeySpan first, KeySpan next) { return next.begin == first.begin && next.end == first.end; }
  void Step(int64_t line, int64_t lines, const KeySpan* seen, float* states) {
    if (lines < lines_ && !std::exchange(made_, true)) leaves_.make_tiles(layout_, blocks_, tiles_);
    leaves_.step(layout_, queries_, line, lines, tiles_, made_, blocks_, *seen, std::exchange(next_, {}), states);
  }
  void Expect(const Blocks& blocks, int64_t head) { next_ = OfHead(blocks, head); }

 private:
  Blocks OfHead(Blocks blocks, int64_t head) const {
    for (const std::byte*& block : blocks) block = block ? block + KeyOffset(layout_, head) : nullptr;
    return blocks;
  }

  const KvLayout& layout_;
  const Int8AttentionLeaves& leaves_;
  int64_t lines_;  // of the task
  bool made_ = false;
  std::byte* tiles_;
  std::byte* queries_;
  Blocks blocks_ = {};
  Blocks next_ = {};
};

struct Lines {  // the task's lines, one after another
  const AttentionArgs& args;
  const AttentionTask& task;
  int64_t group;

  // The first line of the row after that of `line`.
  int64_t next_row(int64_t line) const { return line + group - (task.first_line + line) % group; }
  int64_t row(int64_t line) const { return task.sequence->row_begin + (task.first_line + line) / group; }
  int64_t head(int64_t line) const { return task.kv_head * group + (task.first_line + line) % group; }
  KeySpan span(int64_t line) const { return args.spans[static_cast<size_t>(row(line))]; }
};

Lines LinesOf(const AttentionArgs& args, const AttentionTask& task) {
  return {args, task, args.query_heads / args.pages.layout.kv_heads};
}

void WriteOutput(const AttentionArgs& args, const Lines& lines, int64_t line, float* state) {
  const int64_t value_dim = args.pages.layout.value_dim;
  float* out = args.out + lines.row(line) * args.out_stride + lines.head(line) * value_dim;
  float inverse = state[1] == 0 ? 0.0f : args.value_scale / state[1];
  if (args.sinks && state[1] != 0) {
    const float sink = args.sinks[lines.head(line)];
    const float largest = std::max(state[0], sink);
    const float kept = ExpOf(state[0] - largest);
    inverse = kept * args.value_scale / (state[1] * kept + ExpOf(sink - largest));
  }
  const float unit = args.pages.layout.type == KvType::kFp8 ? kE4M3Unit : 1.0f;
  for (int64_t i = kCarryHeader; i < AttentionCarry(args.pages.layout); i += 16) {
    Store(Mul(Load(state + i), Broadcast(inverse * unit)), state + i);
  }
  std::copy_n(state + kCarryHeader, value_dim, out);
}

float* CarryOf(const Lines& lines, int64_t line) {
  const int64_t state_floats = AttentionCarry(lines.args.pages.layout);
  return lines.args.carry + (lines.row(line) * lines.args.query_heads + lines.head(line)) * state_floats;
}

// What a line sees of `tokens` positions from `start`, as offsets from there.
HWY_INLINE KeySpan Within(KeySpan span, int64_t start, int64_t tokens) {
  return {static_cast<int32_t>(std::clamp<int64_t>(span.begin - start, 0, tokens)),
          static_cast<int32_t>(std::clamp<int64_t>(span.end - start, 0, tokens))};
}

// Writes a block of a row's chosen keys.
void Gather(const AttentionArgs& args, const AttentionSequence& sequence, std::span<const int32_t> chosen,
            std::byte* out) {
  const KvLayout& layout = args.pages.layout;
  const int64_t row = PaddedKeyDim(layout) * BytesOf(layout.type);
  for (int64_t i = 0; i < static_cast<int64_t>(chosen.size()); ++i) {
    const int64_t position = chosen[static_cast<size_t>(i)];
    const int64_t token = position % kBlockTokens;
    const std::byte* block = args.pages.block(sequence.blocks[static_cast<size_t>(position / kBlockTokens)]);
    std::memcpy(out + i * row, block + token * row, static_cast<size_t>(row));
    if (layout.type != KvType::kInt8) continue;
    for (int64_t which = 0; which < 2; ++which) {
      const int64_t scales = ScaleOffset(layout, 0) + 4 * which * kBlockTokens;
      std::memcpy(out + scales + 4 * i, block + scales + 4 * token, sizeof(float));
    }
  }
}

// RunPiece for lines of one row that sees chosen keys.
template <class Steps>
void RunChosenPiece(const Lines& lines, Steps& steps, int64_t piece, float* states) {
  const int64_t state_floats = AttentionCarry(lines.args.pages.layout);
  const std::span<const int32_t> chosen = lines.args.chosen->of(lines.row(0));
  const int64_t count = static_cast<int64_t>(chosen.size());
  const int64_t end = std::min(count, (piece + 1) * kPieceTokens);
  static thread_local Scratch memory;
  const int64_t block_bytes = lines.args.pages.layout.block_bytes();
  std::byte* const gathered = memory.Get(Steps::kBlocks * block_bytes);
  for (int64_t first = piece * kPieceTokens; first < end; first += Steps::kBlocks * kBlockTokens) {
    const int64_t tokens = std::min(Steps::kBlocks * kBlockTokens, end - first);
    typename Steps::Blocks blocks = {};
    for (int64_t i = 0; i * kBlockTokens < tokens; ++i) {
      const auto keys = chosen.subspan(static_cast<size_t>(first + i * kBlockTokens),
                                       static_cast<size_t>(std::min(kBlockTokens, tokens - i * kBlockTokens)));
      Gather(lines.args, *lines.task.sequence, keys, gathered + i * block_bytes);
      blocks[static_cast<size_t>(i)] = gathered + i * block_bytes;
    }
    steps.Open(blocks, 0);
    KeySpan all[kSpansOfRun];
    std::fill_n(all, kSpansOfRun, KeySpan{0, static_cast<int32_t>(tokens)});
    for (int64_t line = 0; line < lines.task.lines;) {
      const int64_t run = std::min(Steps::kMostLines, lines.task.lines - line);
      steps.Step(line, run, all, states + line * state_floats);
      line += run;
    }
  }
}

// Of the step that starts at position `start`, those that hold some of [begin, end).
template <class Steps>
typename Steps::Blocks BlocksOf(const Lines& lines, int64_t start, int64_t begin, int64_t end) {
  typename Steps::Blocks found = {};
  for (int64_t at = std::max(start, begin / kBlockTokens * kBlockTokens);
       at < std::min(start + Steps::kBlocks * kBlockTokens, end); at += kBlockTokens) {
    const int32_t block = lines.task.sequence->blocks[static_cast<size_t>(at / kBlockTokens)];
    found[static_cast<size_t>((at - start) / kBlockTokens)] = lines.args.pages.block(block);
  }
  return found;
}

// Of what the task's first line sees: no step before the first has asked for it.
template <class Steps>
void FetchFirstStep(const Lines& lines) {
  constexpr int64_t kStepTokens = Steps::kBlocks * kBlockTokens;
  const AttentionTask& task = lines.task;
  const KeySpan span = lines.span(0);
  const int64_t begin = std::max<int64_t>(span.begin, task.first_piece * kPieceTokens);
  const int64_t end = std::min<int64_t>(span.end, task.end_piece() * kPieceTokens);
  const KvLayout& layout = lines.args.pages.layout;
  for (const std::byte* block : BlocksOf<Steps>(lines, begin / kStepTokens * kStepTokens, begin, end)) {
    if (!block) continue;
    for (int64_t i = KeyOffset(layout, task.kv_head); i < KeyOffset(layout, task.kv_head + 1); i += 64) {
      __builtin_prefetch(block + i, 0, 2);
    }
  }
}

template <class Steps>
void RunPiece(const Lines& lines, Steps& steps, int64_t piece, float* states) {
  const KvPages& pages = lines.args.pages;
  const AttentionTask& task = lines.task;
  const int64_t state_floats = AttentionCarry(pages.layout);
  for (int64_t line = 0; line < task.lines; ++line) {
    float* state = states + line * state_floats;
    std::fill_n(state, Steps::kReadsFresh ? state_floats : kCarryHeader, 0.0f);
    state[0] = kMinusInfinity;
  }
  if (lines.args.chosen) return RunChosenPiece(lines, steps, piece, states);
  int64_t begin = std::numeric_limits<int64_t>::max();
  int64_t end = 0;
  for (int64_t line = 0; line < task.lines; line = lines.next_row(line)) {
    const KeySpan span = lines.span(line);
    if (span.begin >= span.end) continue;
    begin = std::min<int64_t>(begin, span.begin);
    end = std::max<int64_t>(end, span.end);
  }
  begin = std::max(begin, piece * kPieceTokens);
  const int64_t end_of_task = std::min(end, task.end_piece() * kPieceTokens);
  end = std::min(end, (piece + 1) * kPieceTokens);
  constexpr int64_t kStepTokens = Steps::kBlocks * kBlockTokens;
  const int64_t second_row = lines.next_row(0);
  const auto blocks = [&](int64_t start, int64_t seen_end) { return BlocksOf<Steps>(lines, start, begin, seen_end); };
  for (int64_t start = begin / kStepTokens * kStepTokens; start < end; start += kStepTokens) {
    bool open = false;
    int64_t next_row = second_row;
    for (int64_t line = 0; line < task.lines;) {
      if (line == next_row) next_row += lines.group;
      KeySpan seen[kSpansOfRun] = {Within(lines.span(line), start, kStepTokens)};
      KeySpan next = seen[0];
      int64_t run = 1;
      for (; run < Steps::kMostLines && line + run < task.lines; ++run) {
        if (line + run == next_row) {
          next = Within(lines.span(line + run), start, kStepTokens);
          next_row += lines.group;
        }
        if (!Steps::Together(seen[0], next)) break;
        if (run < kSpansOfRun) seen[run] = next;
      }
      if (seen[0].begin < seen[0].end) {
        if (!open) {
          steps.Open(blocks(start, end), task.kv_head);
          steps.Expect(blocks(start + kStepTokens, end_of_task), task.kv_head);
        }
        open = true;
        steps.Step(line, run, seen, states + line * state_floats);
      }
      line += run;
    }
  }
}

// `steps_at` makes the Steps in memory of its own.
template <class Steps, class StepsAt>
void RunOf(const AttentionArgs& args, const AttentionTask& task, const StepsAt& steps_at) {
  const KvLayout& layout = args.pages.layout;
  const Lines lines = LinesOf(args, task);
  static thread_local Scratch memory;
  const int64_t state_floats = AttentionCarry(layout);
  const int64_t floats_of_steps = (Steps::Floats(layout, task.lines) + 15) / 16 * 16;
  float* const floats = memory.Floats(floats_of_steps + 2 * task.lines * state_floats);
  Steps steps = steps_at(floats);
  float* const states = floats + floats_of_steps;
  if (!args.chosen) FetchFirstStep<Steps>(lines);
  float* const total = task.merges ? task.states : states + task.lines * state_floats;
  for (int64_t line = 0; line < task.lines; ++line) {
    steps.SetQuery(line, args.q + lines.row(line) * args.q_stride + lines.head(line) * layout.key_dim, args.scale);
  }
  if (task.states && !task.merges) {
    for (int64_t piece = 0; piece < task.pieces; ++piece) {
      RunPiece(lines, steps, task.first_piece + piece, task.states + piece * task.state_lines * state_floats);
    }
    return;
  }
  for (int64_t line = 0; line < task.lines; ++line) {
    float* state = total + line * state_floats;
    if (args.carry) {
      std::copy_n(CarryOf(lines, line), state_floats, state);
    } else {
      std::fill_n(state, state_floats, 0.0f);
    }
  }
  for (int64_t piece = 0; piece < task.pieces; ++piece) {
    RunPiece(lines, steps, task.first_piece + piece, states);
    for (int64_t line = 0; line < task.lines; ++line) {
      MergeState(state_floats, total + line * state_floats, states + line * state_floats);
    }
  }
  if (task.merges) return;
  for (int64_t line = 0; line < task.lines; ++line) {
    float* state = total + line * state_floats;
    if (args.carry) std::copy_n(state, state_floats, CarryOf(lines, line));
    WriteOutput(args, lines, line, state);
  }
}

template <typename T>
void RunFloats(const AttentionArgs& args, const AttentionTask& task) {
  RunOf<FloatSteps<T>>(args, task, [&](float* memory) { return FloatSteps<T>(args.pages.layout, memory); });
}

template <const Int8AttentionLeaves* kInt8>
void Run(const AttentionArgs& args, const AttentionTask& task) {
  switch (args.pages.layout.type) {
    case KvType::kF32:
      return RunFloats<float>(args, task);
    case KvType::kF16:
      return RunFloats<hwy::float16_t>(args, task);
    case KvType::kBF16:
      return RunFloats<hwy::bfloat16_t>(args, task);
    case KvType::kFp8:
      return RunFloats<KvE4M3>(args, task);
    case KvType::kInt8:
      return RunOf<Int8Steps>(args, task,
                              [&](float* memory) { return Int8Steps(args.pages.layout, *kInt8, task.lines, memory); });
  }
}

void Merge(const AttentionArgs& args, const AttentionTask& task) {
  const int64_t state_floats = AttentionCarry(args.pages.layout);
  const Lines lines = LinesOf(args, task);
  for (int64_t line = 0; line < task.lines; ++line) {
    float* state = task.states + line * state_floats;
    for (int64_t piece = 1; piece < task.pieces; ++piece) {
      MergeState(state_floats, state, state + piece * task.state_lines * state_floats);
    }
    WriteOutput(args, lines, line, state);
  }
}

}  // namespace

extern const AttentionLeaves kAttentionLeaves = {Run<&kInt8AttentionLeaves>, Merge};
#if HWY_TARGET == HWY_AVX3 || (HWY_TARGET == HWY_AVX2 && GANNET_HAS_AVX_VNNI)
extern const AttentionLeaves kAttentionLeavesVnni = {Run<&kInt8AttentionLeavesVnni>, Merge};
#endif
#if HWY_TARGET == HWY_AVX3
extern const AttentionLeaves kAttentionLeavesAmx = {Run<&kInt8AttentionLeavesAmx>, Merge};
#endif
#if HWY_TARGET == HWY_AVX2 && GANNET_HAS_AVX_VNNI
extern const AttentionLeaves kAttentionLeavesEvex = {Run<&kInt8AttentionLeavesEvex>, Merge};
#endif
#if HWY_TARGET == HWY_NEON
extern const AttentionLeaves kAttentionLeavesSdot = {Run<&kInt8AttentionLeavesSdot>, Merge};
#endif

}  // namespace gannet::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif  // GANNET_IS_FAST
