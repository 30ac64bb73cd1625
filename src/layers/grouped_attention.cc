#include "layers/decoder_layer.h"

namespace gannet {
namespace {

void NormalizeHeads(float* x, int64_t heads, const RmsNormSpec& spec, const std::vector<float>& weight,
                    const StepContext& step) {
  const int64_t dim = static_cast<int64_t>(weight.size());
  step.kernels.rms_norm({.x = x,
                         .x_stride = heads * dim,
                         .out = x,
                         .out_stride = heads * dim,
                         .rows = step.batch.rows(),
                         .groups = heads,
                         .dim = dim,
                         .weight = weight.data(),
                         .epsilon = static_cast<float>(spec.epsilon)},
                        step.pool);
}

void Rotate(float* x, int64_t heads, const GroupedAttention& spec, const BatchRope& table, const StepContext& step) {
  step.kernels.rope({.x = x,
                     .x_stride = heads * spec.key_dim,
                     .rows = step.batch.rows(),
                     .heads = heads,
                     .head_dim = spec.key_dim,
                     .offset = spec.rope->offset,
                     .dims = spec.rope->dims,
                     .pairing = spec.rope->pairing,
                     .cos = table.cos.data(),
                     .sin = table.sin.data()},
                    step.pool);
}

}  // namespace

void GroupedAttentionForward(const GroupedAttention& spec, const GroupedAttentionWeights& weights,
                             const StepContext& step, const KvPages& pages, size_t group, size_t rope) {
  Buffers& b = step.buffers;
  const int64_t rows = step.batch.rows();
  const int64_t hidden = weights.o.weight->rows();
  const int64_t q_width = spec.query_heads * spec.key_dim;
  const int64_t k_width = spec.kv_heads * spec.key_dim;
  const int64_t v_width = spec.kv_heads * spec.value_dim;
  const int64_t out_width = spec.query_heads * spec.value_dim;

  const MatmulTarget projections[] = {weights.q.To(b.q.data(), q_width), weights.k.To(b.k.data(), k_width),
                                      weights.v.To(b.v.data(), v_width)};
  step.kernels.matmul({b.normed.data(), hidden, rows, hidden, projections}, step.pool);
  if (spec.qk_norm) {
    NormalizeHeads(b.q.data(), spec.query_heads, *spec.qk_norm, weights.q_norm, step);
    NormalizeHeads(b.k.data(), spec.kv_heads, *spec.qk_norm, weights.k_norm, step);
  }
  if (spec.rope) {
    Rotate(b.q.data(), spec.query_heads, spec, step.batch.ropes[rope], step);
    Rotate(b.k.data(), spec.kv_heads, spec, step.batch.ropes[rope], step);
  }
  const BatchGroup& view = step.batch.groups[group];
  step.kernels.store_kv({.keys = b.k.data(),
                         .key_stride = k_width,
                         .values = b.v.data(),
                         .value_stride = v_width,
                         .slots = view.slots,
                         .pages = pages},
                        step.pool);
  step.kernels.attention({.q = b.q.data(),
                          .q_stride = q_width,
                          .out = b.attention.data(),
                          .out_stride = out_width,
                          .query_heads = spec.query_heads,
                          .scale = static_cast<float>(spec.scale),
                          .pages = pages,
                          .sequences = view.sequences,
                          .spans = view.spans},
                         step.pool);
  const MatmulTarget output[] = {weights.o.To(b.hidden.data(), hidden, /*accumulate=*/true)};
  step.kernels.matmul({b.attention.data(), out_width, rows, out_width, output}, step.pool);
}

}  // namespace gannet
