// The indexer of sparse attention (DSA, arXiv 2512.02556): which keys a row attends to.
//
//   score(r, j) = sum_h weights[r, h] * max(0, q[r, h, :] . key[j, :])
//
// over the row's own keys [spans[r].begin, spans[r].end). The top_k positions with the highest scores are chosen; of
// equal scores the lower positions. NaN is below every number. A row with no more than top_k keys sees all of them, and
// its scores are not computed. Positive factors common to a row's scores change no choice: none is applied.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/attention.h"

namespace gannet {

struct ChooseKeysArgs {
  const float* q = nullptr;  // [rows, heads * dim]
  int64_t q_stride = 0;
  const float* weights = nullptr;  // [rows, heads]
  int64_t weights_stride = 0;
  int64_t heads = 0;
  int64_t top_k = 0;
  KvPages pages;  // latent layout, key_dim = dim, without values
  std::span<const AttentionSequence> sequences;
  std::span<const KeySpan> spans;  // [rows]
  ChosenKeys out;                  // stride at least top_k
};

// A row that needs no scores: all of its keys.
inline bool SeesAll(KeySpan span, int64_t top_k) { return span.end - span.begin <= top_k; }
void ChooseAll(KeySpan span, int64_t row, const ChosenKeys& out);
// From the scores of keys [span.begin, span.end). The same for every table.
void ChooseBest(std::span<const float> scores, KeySpan span, int64_t top_k, int64_t row, const ChosenKeys& out);

}  // namespace gannet
