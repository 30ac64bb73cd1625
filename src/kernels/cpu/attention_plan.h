// Cuts attention into tasks. Rows and heads of one kv head of a sequence are numbered row * group + head ("lines").
// The bits of a line do not depend on the cut: within a piece of kPieceTokens positions an online softmax runs over the
// blocks in order, and the states of the pieces are merged in order, by one task or by several.
#pragma once

#include <cstdint>

#include "base/thread_pool.h"
#include "kernels/attention.h"

namespace gannet {

struct AttentionTask {
  const AttentionSequence* sequence;
  int64_t kv_head;
  int64_t first_line;
  int64_t lines;
  int64_t first_piece;
  int64_t pieces;
  // Of line 0 of the first piece, [pieces][state_lines][AttentionCarry]: left there for a later merge; null: finished
  // in this task.
  float* states;
  int64_t state_lines;
  bool merges = false;  // the pieces, to one state for each line
  int64_t end_piece() const { return first_piece + pieces; }
};

struct AttentionLeaves {
  void (*run)(const AttentionArgs& args, const AttentionTask& task);
  // Merges task.states and writes the outputs.
  void (*merge)(const AttentionArgs& args, const AttentionTask& task);
};

void RunAttention(const AttentionArgs& args, ThreadPool& pool, const AttentionLeaves& leaves);

}  // namespace gannet
