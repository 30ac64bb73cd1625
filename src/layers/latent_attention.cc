// Multi-head latent attention (arXiv 2405.04434). Every row is first written to the latent cache. Prompt rows then
// expand keys and values from the cache, a piece of kPieceTokens positions at a time; generated rows move their queries
// into the latent space and attend to the cache itself, and so do prompt rows that see only chosen keys, or many keys
// of an int8 cache. Both read the cache alone, and a row's form is its own affair, so it comes out the same in any
// chunk.
#include <algorithm>
#include <array>
#include <numeric>

#include "layers/decoder_layer.h"
#include "layers/indexer.h"
#include "layers/row_ops.h"

namespace gannet {
namespace {

constexpr int64_t kPieceBlocks = kPieceTokens / kBlockTokens;

class LatentForward {
 public:
  LatentForward(const LatentAttention& spec, const LatentAttentionWeights& weights, const StepContext& step,
                const LayerCache& cache)
      : spec_(spec), weights_(weights), step_(step), cache_(cache), view_(step.batch.groups[cache.group]) {}

  void Project();
  // Fills Area::kAttention for the prompt rows of one sequence that expand their keys.
  void ExpandedRows(size_t sequence);
  // The rows of the step that attend in the latent space: generated ones, and prompt rows that do not expand.
  PackedRows AbsorbedRows() const;
  // The same for them. `chosen`: the keys they see, or null.
  void Absorbed(const PackedRows& packed, const ChosenKeys* chosen);

 private:
  int64_t key_dim() const { return spec_.nope_dim + spec_.rope_dim; }
  int64_t row_dim() const { return spec_.latent_rank + spec_.rope_dim; }
  int64_t out_width() const { return spec_.heads * spec_.value_dim; }
  bool Expands(KeySpan span) const {
    if (spec_.sparse) return SeesAll(span, spec_.sparse->top_k);
    return cache_.pages.layout.type != KvType::kInt8 || span.end - span.begin <= step_.kernels.expanded_keys;
  }
  float* At(Area area) const { return step_.buffers[area]; }
  void ExpandPiece(std::span<const int32_t> blocks, int64_t first, int64_t count, const KvPages& pages);

  const LatentAttention& spec_;
  const LatentAttentionWeights& weights_;
  const StepContext& step_;
  const LayerCache& cache_;
  const BatchGroup& view_;
};

void LatentForward::Project() {
  float* normed = At(Area::kNormed);
  float* q = At(Area::kQ);
  float* latent = At(Area::kK);
  const int64_t hidden = weights_.o.weight->rows();
  const int64_t q_width = spec_.heads * key_dim();
  if (spec_.query_rank) {
    const int64_t rank = *spec_.query_rank;
    float* down = At(Area::kQDown);
    const MatmulTarget both[] = {weights_.q_down.To(down, rank), weights_.kv_down.To(latent, row_dim())};
    Multiply(step_, normed, hidden, both);
    Normalize(step_, spec_.latent_norm, weights_.q_down_norm, down, rank, down, rank);
    const MatmulTarget up[] = {weights_.q.To(q, q_width)};
    Multiply(step_, down, rank, up);
  } else {
    const MatmulTarget both[] = {weights_.q.To(q, q_width), weights_.kv_down.To(latent, row_dim())};
    Multiply(step_, normed, hidden, both);
  }
  Normalize(step_, spec_.latent_norm, weights_.latent_norm, latent, row_dim(), latent, row_dim());
  const BatchRope& table = step_.batch.ropes[cache_.rope];
  Rotate(step_, spec_.rope, table, q, spec_.heads, key_dim(), spec_.nope_dim);
  Rotate(step_, spec_.rope, table, latent, 1, row_dim(), spec_.latent_rank);
  step_.kernels.store_kv({.keys = latent,
                          .key_stride = row_dim(),
                          .values = nullptr,
                          .value_stride = 0,
                          .slots = view_.slots,
                          .pages = cache_.pages},
                         step_.pool);
}

// Keys and values of positions [first, first + count) of a sequence, in blocks 0, 1, ... of `pages`.
void LatentForward::ExpandPiece(std::span<const int32_t> blocks, int64_t first, int64_t count, const KvPages& pages) {
  float* latents = At(Area::kPieceLatents);
  float* keys = At(Area::kPieceKeys);
  float* values = At(Area::kPieceValues);
  const int64_t keys_width = spec_.heads * key_dim();
  LoadLatents({.pages = cache_.pages,
               .blocks = blocks,
               .first = first,
               .count = count,
               .out = latents,
               .out_stride = row_dim()},
              step_.pool);
  std::vector<MatmulTarget> targets;
  for (int64_t h = 0; h < spec_.heads; ++h) {
    const size_t i = static_cast<size_t>(h);
    targets.push_back(weights_.key_up[i].To(keys + h * key_dim(), keys_width));
    targets.push_back(weights_.value_up[i].To(values + h * spec_.value_dim, out_width()));
  }
  const MatmulArgs job{latents, row_dim(), count, spec_.latent_rank, targets, {}};
  step_.kernels.matmul({&job, 1}, step_.pool);
  step_.pool.ParallelFor(count, [&](int64_t t, int) {
    const float* rotated = latents + t * row_dim() + spec_.latent_rank;
    for (int64_t h = 0; h < spec_.heads; ++h) {
      std::copy_n(rotated, spec_.rope_dim, keys + t * keys_width + h * key_dim() + spec_.nope_dim);
    }
  });
  std::array<int64_t, kPieceTokens> slots{};
  std::iota(slots.begin(), slots.end(), 0);
  step_.kernels.store_kv({.keys = keys,
                          .key_stride = keys_width,
                          .values = values,
                          .value_stride = out_width(),
                          .slots = {slots.data(), static_cast<size_t>(count)},
                          .pages = pages},
                         step_.pool);
}

void LatentForward::ExpandedRows(size_t index) {
  const int64_t begin = step_.batch.sequences[index].row_begin;
  const int64_t rows = step_.batch.sequences[index].prompt_rows;
  const AttentionSequence& sequence = view_.sequences[index];
  std::vector<KeySpan> spans(view_.spans.begin() + begin, view_.spans.begin() + begin + rows);
  for (KeySpan& span : spans) {
    if (!Expands(span)) span = {};  // comes later, in the latent space
  }
  const auto [first, end] = HullOf(spans);
  if (end == 0) {
    std::fill_n(At(Area::kAttention) + begin * out_width(), rows * out_width(), 0.0f);
    return;
  }

  KvPages pages;
  pages.layout = {spec_.heads, key_dim(), spec_.value_dim, KvType::kF32};
  pages.block_stride = pages.layout.block_bytes();
  pages.base = reinterpret_cast<std::byte*>(At(Area::kPiecePages));
  const int64_t first_piece = first / kPieceTokens;
  const int64_t last_piece = (end - 1) / kPieceTokens;
  float* carry = first_piece == last_piece ? nullptr : At(Area::kCarry);
  if (carry) std::fill_n(carry, rows * spec_.heads * AttentionCarry(pages.layout), 0.0f);

  std::vector<int32_t> blocks(sequence.blocks.size(), -1);
  std::vector<KeySpan> seen(spans.begin(), spans.end());
  for (int64_t piece = first_piece; piece <= last_piece; ++piece) {
    const int64_t from = piece * kPieceTokens;
    const int64_t to = std::min<int64_t>(end, from + kPieceTokens);
    ExpandPiece(sequence.blocks, from, to - from, pages);
    std::ranges::fill(blocks, -1);
    for (int64_t b = 0; b < kPieceBlocks && from + b * kBlockTokens < to; ++b) {
      blocks[static_cast<size_t>(piece * kPieceBlocks + b)] = static_cast<int32_t>(b);
    }
    for (size_t i = 0; i < seen.size(); ++i) {
      seen[i] = {static_cast<int32_t>(std::max<int64_t>(spans[i].begin, from)),
                 static_cast<int32_t>(std::min<int64_t>(spans[i].end, to))};
    }
    const AttentionSequence one{0, rows, blocks};
    step_.kernels.attention({.q = At(Area::kQ) + begin * spec_.heads * key_dim(),
                             .q_stride = spec_.heads * key_dim(),
                             .out = At(Area::kAttention) + begin * out_width(),
                             .out_stride = out_width(),
                             .query_heads = spec_.heads,
                             .scale = static_cast<float>(spec_.scale),
                             .pages = pages,
                             .sequences = {&one, 1},
                             .spans = seen,
                             .carry = carry},
                            step_.pool);
  }
}

PackedRows LatentForward::AbsorbedRows() const {
  PackedRows packed;
  for (size_t i = 0; i < step_.batch.sequences.size(); ++i) {
    const BatchSequence& sequence = step_.batch.sequences[i];
    for (int64_t r = 0; r < sequence.row_count; ++r) {
      const int64_t row = sequence.row_begin + r;
      const KeySpan span = view_.spans[static_cast<size_t>(row)];
      if (r >= sequence.prompt_rows || !Expands(span)) packed.Add(i, row, span);
    }
  }
  return packed;
}

void LatentForward::Absorbed(const PackedRows& packed, const ChosenKeys* chosen) {
  const std::vector<int32_t>& rows = packed.rows;
  // Packed rows i of the absorbed queries belong to rows[i] of the step; attention then sees them as packed.
  float* absorbed = At(Area::kAbsorbed);
  float* latent_out = At(Area::kLatentOut);
  const float* q = At(Area::kQ);
  const int64_t heads = spec_.heads;
  const int64_t count = packed.count();
  const int64_t q_width = heads * key_dim();
  std::vector<MatmulTarget> targets(static_cast<size_t>(heads));
  std::vector<MatmulArgs> jobs(static_cast<size_t>(heads));
  for (int64_t h = 0; h < heads; ++h) {
    const size_t i = static_cast<size_t>(h);
    targets[i] = weights_.key_up_t[i].To(absorbed + h * row_dim(), heads * row_dim());
    jobs[i] = {q + h * key_dim(), q_width, count, spec_.nope_dim, {&targets[i], 1}, rows};
  }
  step_.kernels.matmul(jobs, step_.pool);
  step_.pool.ParallelFor(count, [&](int64_t i, int) {
    const float* from = q + rows[static_cast<size_t>(i)] * q_width + spec_.nope_dim;
    for (int64_t h = 0; h < heads; ++h) {
      std::copy_n(from + h * key_dim(), spec_.rope_dim, absorbed + (i * heads + h) * row_dim() + spec_.latent_rank);
    }
  });
  const std::vector<AttentionSequence> sequences = packed.In(view_);
  step_.kernels.attention({.q = absorbed,
                           .q_stride = heads * row_dim(),
                           .out = latent_out,
                           .out_stride = heads * spec_.latent_rank,
                           .query_heads = heads,
                           .scale = static_cast<float>(spec_.scale),
                           .pages = cache_.pages,
                           .sequences = sequences,
                           .spans = packed.spans,
                           .chosen = chosen},
                          step_.pool);
  // The products of packed rows land packed, in the place of the absorbed queries, and move to their own rows.
  for (int64_t h = 0; h < heads; ++h) {
    const size_t i = static_cast<size_t>(h);
    targets[i] = weights_.value_up[i].To(absorbed + h * spec_.value_dim, out_width());
    jobs[i] = {
        latent_out + h * spec_.latent_rank, heads * spec_.latent_rank, count, spec_.latent_rank, {&targets[i], 1}, {}};
  }
  step_.kernels.matmul(jobs, step_.pool);
  step_.pool.ParallelFor(count, [&](int64_t i, int) {
    std::copy_n(absorbed + i * out_width(), out_width(),
                At(Area::kAttention) + rows[static_cast<size_t>(i)] * out_width());
  });
}

}  // namespace

void MixerForward(const LatentAttention& spec, const LatentAttentionWeights& weights, const StepContext& step,
                  const LayerCache& cache, const LayerCache& index) {
  LatentForward forward(spec, weights, step, cache);
  const bool indexes = spec.sparse && spec.sparse->indexer;
  {
    const PartTimer timer(step.times, Part::kProjections);
    forward.Project();
  }
  const PackedRows packed = forward.AbsorbedRows();
  if (indexes) {
    const PartTimer timer(step.times, Part::kIndexer);
    StoreIndexKeys(*spec.sparse->indexer, weights.indexer, step, index);
    if (packed.count() > 0) {
      ChooseIndexedKeys(*spec.sparse->indexer, spec.sparse->top_k, weights.indexer, step, index, packed);
    }
  }
  {
    const PartTimer timer(step.times, Part::kAttention);
    for (size_t i = 0; i < step.batch.sequences.size(); ++i) {
      if (step.batch.sequences[i].prompt_rows > 0) forward.ExpandedRows(i);
    }
    ChosenKeys chosen;
    if (spec.sparse) chosen = ChosenOf(step.buffers, spec.sparse->top_k);
    if (packed.count() > 0) forward.Absorbed(packed, spec.sparse ? &chosen : nullptr);
  }
  const PartTimer timer(step.times, Part::kProjections);
  if (spec.gate) GateForward(*spec.gate, weights.gate, spec.heads, spec.value_dim, step);
  const int64_t hidden = weights.o.weight->rows();
  const MatmulTarget output[] = {weights.o.To(step.sum(), hidden, /*accumulate=*/true)};
  Multiply(step, step.buffers[Area::kAttention], spec.heads * spec.value_dim, output);
}

}  // namespace gannet
