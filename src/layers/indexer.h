// The indexer of sparse attention: its keys go to their own cache, and it chooses the keys that absorbed rows see.
#pragma once

#include <cstdint>
#include <vector>

#include "layers/decoder_layer.h"

namespace gannet {

// Rows of the step that attend in the latent space, packed: row i is rows[i] of the step.
struct PackedRows {
  std::vector<int32_t> rows;
  std::vector<KeySpan> spans;  // [rows]
  struct Run {                 // consecutive packed rows of one sequence of the step
    size_t sequence = 0;
    int64_t begin = 0;
    int64_t count = 0;
  };
  std::vector<Run> runs;

  void Add(size_t sequence, int64_t row, KeySpan span);
  int64_t count() const { return static_cast<int64_t>(rows.size()); }
  // With the block tables of a cache group.
  std::vector<AttentionSequence> In(const BatchGroup& group) const;
};

// Writes the index keys of every row of the step; reads Area::kNormed.
void StoreIndexKeys(const Indexer& spec, const IndexerWeights& weights, const StepContext& step,
                    const LayerCache& cache);
// The choice for packed rows, into step.buffers; reads Area::kNormed and the normed query bottleneck, Area::kQDown.
void ChooseIndexedKeys(const Indexer& spec, int64_t top_k, const IndexerWeights& weights, const StepContext& step,
                       const LayerCache& cache, const PackedRows& packed);
// Where the choice lies, `top_k` apart.
inline ChosenKeys ChosenOf(Buffers& buffers, int64_t top_k) {
  return {buffers.chosen_keys.data(), buffers.chosen_counts.data(), top_k};
}

}  // namespace gannet
