#include "kernels/cpu/attention_plan.h"

#include <algorithm>
#include <vector>

#include "base/result.h"
#include "kernels/cpu/scratch.h"
#include "kernels/kv_block.h"

namespace gannet {
namespace {

// A key block read once serves so many lines.
constexpr int64_t kLinesPerTask = 32;
constexpr int64_t kLinesPerInt8LatentTask = 80;  // whole sixteens of 20 heads
constexpr int64_t kTasksPerThread = 4;

struct Pieces {
  int64_t first = 0;
  int64_t count = 0;
};

Pieces PiecesSeen(const AttentionArgs& args, const AttentionSequence& sequence) {
  if (args.chosen) {  // of one row
    return {0, (args.chosen->counts[sequence.row_begin] + kPieceTokens - 1) / kPieceTokens};
  }
  const KeySpan seen =
      HullOf(args.spans.subspan(static_cast<size_t>(sequence.row_begin), static_cast<size_t>(sequence.row_count)));
  if (seen.end == 0) return {};
  return {seen.begin / kPieceTokens, (seen.end - 1) / kPieceTokens - seen.begin / kPieceTokens + 1};
}

// The merge of a task's states, its lines in `parts`.
void AddMerges(const AttentionTask& task, int64_t parts, int64_t state, std::vector<AttentionTask>& merges) {
  for (int64_t part = 0; part < parts; ++part) {
    const int64_t first = part * task.lines / parts;
    const int64_t lines = (part + 1) * task.lines / parts - first;
    if (lines == 0) continue;
    AttentionTask merge = task;
    merge.first_line += first;
    merge.lines = lines;
    merge.states += first * state;
    merges.push_back(merge);
  }
}

}  // namespace

void RunAttention(const AttentionArgs& args, ThreadPool& pool, const AttentionLeaves& leaves) {
  const KvLayout& layout = args.pages.layout;
  GANNET_ASSERT(args.query_heads % layout.kv_heads == 0, "query heads are a multiple of kv heads");
  const int64_t group = args.query_heads / layout.kv_heads;
  const int64_t wanted = pool.size() == 1 ? 1 : pool.size() * kTasksPerThread;

  int64_t lines = 0;
  for (const AttentionSequence& sequence : args.sequences) lines += sequence.row_count * group * layout.kv_heads;
  // Lines of one row stay together: they share its span, and a key that is read serves them all. Where there is too
  // little to do for all threads the pieces of a long context are cut first, lines last.
  const bool int8_latent = layout.latent && layout.type == KvType::kInt8;
  const int64_t most_lines = int8_latent ? kLinesPerInt8LatentTask : kLinesPerTask;
  int64_t per_task = std::max(group, std::min(most_lines, lines / wanted) / group * group);

  static thread_local std::vector<AttentionSequence> row_memory;
  std::span<const AttentionSequence> sequences = args.sequences;
  if (args.chosen) {
    row_memory.clear();
    for (const AttentionSequence& sequence : args.sequences) {
      for (int64_t i = 0; i < sequence.row_count; ++i) {
        row_memory.push_back({sequence.row_begin + i, 1, sequence.blocks});
      }
    }
    sequences = row_memory;
  }

  int64_t most = 0;
  for (const AttentionSequence& sequence : sequences) {
    if (most >= wanted) break;
    const int64_t pieces = args.carry ? 1 : std::max<int64_t>(1, PiecesSeen(args, sequence).count);
    most += pieces * layout.kv_heads * ((sequence.row_count * group + per_task - 1) / per_task);
  }
  if (most > 0 && most < wanted) {
    const int64_t least = layout.latent ? std::min<int64_t>(per_task, 4) : 1;  // lines that a pass takes together
    per_task = std::max(least, per_task * most / wanted);
  }

  static thread_local std::vector<AttentionTask> task_memory;
  static thread_local std::vector<AttentionTask> merge_memory;
  static thread_local Scratch state_memory;
  std::vector<AttentionTask>& tasks = task_memory;
  std::vector<AttentionTask>& merges = merge_memory;
  tasks.clear();
  merges.clear();
  for (const AttentionSequence& sequence : sequences) {
    const Pieces pieces = PiecesSeen(args, sequence);
    const int64_t all = sequence.row_count * group;
    for (int64_t kv_head = 0; kv_head < layout.kv_heads; ++kv_head) {
      for (int64_t first = 0; first < all; first += per_task) {
        tasks.push_back(
            {&sequence, kv_head, first, std::min(per_task, all - first), pieces.first, pieces.count, nullptr, 0});
      }
    }
  }

  // Too few tasks for the threads: some of the pieces to a task, and a merge.
  if (static_cast<int64_t>(tasks.size()) < wanted && pool.size() > 1 && !args.carry) {
    const int64_t state = AttentionCarry(layout);
    int64_t floats = 0;
    for (const AttentionTask& task : tasks) floats += task.pieces > 1 ? task.pieces * task.lines * state : 0;
    float* states = state_memory.Floats(floats);
    const size_t whole = tasks.size();
    for (size_t i = 0; i < whole; ++i) {
      if (tasks[i].pieces <= 1) continue;
      AttentionTask task = tasks[i];
      task.states = states;
      task.state_lines = task.lines;
      // The first task merges its pieces itself, so that fewer states go through memory: as many as leave the other
      // threads enough to be done at the same time.
      const int64_t count = static_cast<int64_t>(whole);
      const int64_t merged =
          std::max<int64_t>(1, std::min(task.pieces / 2, 3 * task.pieces * count / (4 * pool.size())));
      const int64_t together = std::max<int64_t>(1, task.pieces * count / wanted);
      const int64_t end = task.end_piece();
      task.pieces -= merged - 1;
      AddMerges(task, (pool.size() + count - 1) / count, state, merges);
      task.pieces = merged;
      task.merges = true;
      tasks[i] = task;
      task.merges = false;
      task.states += task.lines * state;
      task.first_piece += merged;
      while (task.first_piece < end) {
        task.pieces = std::min(together, end - task.first_piece);
        tasks.push_back(task);
        task.states += task.pieces * task.lines * state;
        task.first_piece += task.pieces;
      }
      states = task.states;
    }
  }

  const AttentionTask* const first_task = tasks.data();
  pool.ParallelFor(static_cast<int64_t>(tasks.size()),
                   [&](int64_t index, int) { leaves.run(args, first_task[index]); });
  if (merges.empty()) return;
  const AttentionTask* const first_merge = merges.data();
  pool.ParallelFor(static_cast<int64_t>(merges.size()),
                   [&](int64_t index, int) { leaves.merge(args, first_merge[index]); });
}

}  // namespace gannet
