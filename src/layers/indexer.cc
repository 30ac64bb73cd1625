#include "layers/indexer.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "layers/row_ops.h"

namespace gannet {
namespace {

// In place, in fp64: a row has some hundred values.
void NormalizeKeys(const LayerNormSpec& spec, const IndexerWeights& weights, int64_t rows, float* keys) {
  const size_t dim = weights.k_norm.size();
  for (int64_t row = 0; row < rows; ++row) {
    float* key = keys + row * static_cast<int64_t>(dim);
    double sum = 0;
    double squares = 0;
    for (size_t d = 0; d < dim; ++d) sum += key[d];
    const double mean = sum / static_cast<double>(dim);
    for (size_t d = 0; d < dim; ++d) squares += (key[d] - mean) * (key[d] - mean);
    const double scale = 1 / std::sqrt(squares / static_cast<double>(dim) + spec.epsilon);
    for (size_t d = 0; d < dim; ++d) {
      key[d] = static_cast<float>((key[d] - mean) * scale * weights.k_norm[d] + weights.k_norm_bias[d]);
    }
  }
}

}  // namespace

void PackedRows::Add(size_t sequence, int64_t row, KeySpan span) {
  if (runs.empty() || runs.back().sequence != sequence) runs.push_back({sequence, count(), 0});
  ++runs.back().count;
  rows.push_back(static_cast<int32_t>(row));
  spans.push_back(span);
}

std::vector<AttentionSequence> PackedRows::In(const BatchGroup& group) const {
  std::vector<AttentionSequence> sequences;
  for (const Run& run : runs) sequences.push_back({run.begin, run.count, group.sequences[run.sequence].blocks});
  return sequences;
}

void StoreIndexKeys(const Indexer& spec, const IndexerWeights& weights, const StepContext& step,
                    const LayerCache& cache) {
  float* keys = step.buffers[Area::kIndexK];
  const MatmulTarget target[] = {weights.k.To(keys, spec.dim)};
  Multiply(step, step.buffers[Area::kNormed], weights.k.weight->cols(), target);
  NormalizeKeys(spec.key_norm, weights, step.batch.rows(), keys);
  Rotate(step, spec.rope, step.batch.ropes[cache.rope], keys, 1, spec.dim, spec.rope.offset);
  step.kernels.store_kv({.keys = keys,
                         .key_stride = spec.dim,
                         .values = nullptr,
                         .value_stride = 0,
                         .slots = step.batch.groups[cache.group].slots,
                         .pages = cache.pages},
                        step.pool);
}

void ChooseIndexedKeys(const Indexer& spec, int64_t top_k, const IndexerWeights& weights, const StepContext& step,
                       const LayerCache& cache, const PackedRows& packed) {
  const int64_t rows = packed.count();
  const ChosenKeys chosen = ChosenOf(step.buffers, top_k);
  if (std::ranges::all_of(packed.spans, [&](KeySpan span) { return SeesAll(span, top_k); })) {
    for (int64_t i = 0; i < rows; ++i) ChooseAll(packed.spans[static_cast<size_t>(i)], i, chosen);
    return;
  }
  float* q = step.buffers[Area::kIndexQ];
  float* head_weights = step.buffers[Area::kIndexWeights];
  const int64_t q_width = spec.heads * spec.dim;
  const int64_t rank = weights.q.weight->cols();
  const int64_t hidden = weights.weights.weight->cols();
  const MatmulTarget q_target[] = {weights.q.To(q, q_width)};
  const MatmulTarget weights_target[] = {weights.weights.To(head_weights, spec.heads)};
  const std::array<MatmulArgs, 2> jobs{
      MatmulArgs{step.buffers[Area::kQDown], rank, rows, rank, q_target, packed.rows},
      MatmulArgs{step.buffers[Area::kNormed], hidden, rows, hidden, weights_target, packed.rows}};
  step.kernels.matmul(jobs, step.pool);

  const BatchRope& table = step.batch.ropes[cache.rope];
  const int64_t half = spec.rope.dims / 2;
  BatchRope turned;
  for (const int32_t row : packed.rows) {
    turned.cos.insert(turned.cos.end(), table.cos.begin() + row * half, table.cos.begin() + (row + 1) * half);
    turned.sin.insert(turned.sin.end(), table.sin.begin() + row * half, table.sin.begin() + (row + 1) * half);
  }
  step.kernels.rope({.x = q,
                     .x_stride = q_width,
                     .rows = rows,
                     .heads = spec.heads,
                     .head_dim = spec.dim,
                     .offset = spec.rope.offset,
                     .dims = spec.rope.dims,
                     .pairing = spec.rope.pairing,
                     .cos = turned.cos.data(),
                     .sin = turned.sin.data()},
                    step.pool);

  const std::vector<AttentionSequence> sequences = packed.In(step.batch.groups[cache.group]);
  step.kernels.choose_keys({.q = q,
                            .q_stride = q_width,
                            .weights = head_weights,
                            .weights_stride = spec.heads,
                            .heads = spec.heads,
                            .top_k = top_k,
                            .pages = cache.pages,
                            .sequences = sequences,
                            .spans = packed.spans,
                            .out = chosen},
                           step.pool);
}

}  // namespace gannet
