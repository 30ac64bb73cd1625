#include "kernels/cpu/choose_plan.h"

#include <algorithm>
#include <vector>

#include "kernels/cpu/scratch.h"
#include "kernels/kv_block.h"

namespace gannet {
namespace {

constexpr int64_t kScoresAtOnce = 1 << 20;  // 4 MB; a longer row is taken alone

struct ScoredRow {
  int64_t row;
  const AttentionSequence* sequence;
  KeySpan span;
  float* q;       // padded
  float* scores;  // of span.begin, span.begin + 1, ...
};
struct BlockTask {
  size_t scored;
  int64_t block;  // of positions
};

}  // namespace

void RunChooseKeys(const ChooseKeysArgs& args, ThreadPool& pool, IndexScoresOfBlock scores_of_block) {
  static thread_local Scratch memory;
  static thread_local std::vector<ScoredRow> row_memory;
  static thread_local std::vector<BlockTask> task_memory;
  std::vector<ScoredRow>& rows = row_memory;
  std::vector<BlockTask>& tasks = task_memory;
  const int64_t dim = args.pages.layout.key_dim;
  const int64_t padded = PaddedKeyDim(args.pages.layout);
  const int64_t q_floats = args.heads * padded;
  int64_t floats = 0;
  rows.clear();
  tasks.clear();

  const auto flush = [&] {
    float* next = memory.Floats(floats);
    for (ScoredRow& row : rows) {
      row.q = next;
      row.scores = next + q_floats;
      next += q_floats + row.span.end - row.span.begin;
    }
    const ScoredRow* const scored = rows.data();
    const BlockTask* const task = task_memory.data();
    pool.ParallelFor(static_cast<int64_t>(rows.size()), [&](int64_t i, int) {
      const float* from = args.q + scored[i].row * args.q_stride;
      for (int64_t h = 0; h < args.heads; ++h) {
        float* to = std::copy_n(from + h * dim, dim, scored[i].q + h * padded);
        std::fill_n(to, padded - dim, 0.0f);
      }
    });
    pool.ParallelFor(static_cast<int64_t>(tasks.size()), [&](int64_t i, int) {
      const ScoredRow& row = scored[task[i].scored];
      const int64_t start = task[i].block * kBlockTokens;
      const int64_t from = std::max<int64_t>(row.span.begin - start, 0);
      const int64_t to = std::min<int64_t>(row.span.end - start, kBlockTokens);
      const int32_t block = row.sequence->blocks[static_cast<size_t>(task[i].block)];
      scores_of_block(row.q, args.weights + row.row * args.weights_stride, args.heads, args.pages.layout,
                      args.pages.block(block), from, to, row.scores + start + from - row.span.begin);
    });
    pool.ParallelFor(static_cast<int64_t>(rows.size()), [&](int64_t i, int) {
      const ScoredRow& row = scored[i];
      ChooseBest({row.scores, static_cast<size_t>(row.span.end - row.span.begin)}, row.span, args.top_k, row.row,
                 args.out);
    });
    floats = 0;
    rows.clear();
    tasks.clear();
  };

  for (const AttentionSequence& sequence : args.sequences) {
    for (int64_t row = sequence.row_begin; row < sequence.row_begin + sequence.row_count; ++row) {
      const KeySpan span = args.spans[static_cast<size_t>(row)];
      if (SeesAll(span, args.top_k)) {
        ChooseAll(span, row, args.out);
        continue;
      }
      const int64_t more = q_floats + span.end - span.begin;
      if (!rows.empty() && floats + more > kScoresAtOnce) flush();
      for (int64_t block = span.begin / kBlockTokens; block * kBlockTokens < span.end; ++block) {
        tasks.push_back({rows.size(), block});
      }
      rows.push_back({row, &sequence, span, nullptr, nullptr});
      floats += more;
    }
  }
  if (!rows.empty()) flush();
}

}  // namespace gannet
