#include "layers/decoder_layer.h"
#include "layers/row_ops.h"

namespace gannet {

void MixerForward(const GroupedAttention& spec, const GroupedAttentionWeights& weights, const StepContext& step,
                  const LayerCache& cache) {
  float* q = step.buffers[Area::kQ];
  float* k = step.buffers[Area::kK];
  float* v = step.buffers[Area::kV];
  float* attention = step.buffers[Area::kAttention];
  const int64_t hidden = weights.o.weight->rows();
  const int64_t q_width = spec.query_heads * spec.key_dim;
  const int64_t k_width = spec.kv_heads * spec.key_dim;
  const int64_t v_width = spec.kv_heads * spec.value_dim;
  const int64_t out_width = spec.query_heads * spec.value_dim;

  {
    const PartTimer timer(step.times, Part::kProjections);
    const MatmulTarget projections[] = {weights.q.To(q, q_width), weights.k.To(k, k_width), weights.v.To(v, v_width)};
    Multiply(step, step.buffers[Area::kNormed], hidden, projections);
    if (spec.qk_norm) {
      Normalize(step, *spec.qk_norm, weights.q_norm, q, q_width, q, q_width, spec.query_heads);
      Normalize(step, *spec.qk_norm, weights.k_norm, k, k_width, k, k_width, spec.kv_heads);
    }
    if (spec.rope) {
      const BatchRope& table = step.batch.ropes[cache.rope];
      Rotate(step, *spec.rope, table, q, spec.query_heads, spec.key_dim, spec.rope->offset);
      Rotate(step, *spec.rope, table, k, spec.kv_heads, spec.key_dim, spec.rope->offset);
    }
  }
  const BatchGroup& view = step.batch.groups[cache.group];
  step.kernels.store_kv({.keys = k,
                         .key_stride = k_width,
                         .values = v,
                         .value_stride = v_width,
                         .slots = view.slots,
                         .pages = cache.pages},
                        step.pool);
  {
    const PartTimer timer(step.times, Part::kAttention);
    step.kernels.attention({.q = q,
                            .q_stride = q_width,
                            .out = attention,
                            .out_stride = out_width,
                            .query_heads = spec.query_heads,
                            .scale = static_cast<float>(spec.scale),
                            .pages = cache.pages,
                            .sequences = view.sequences,
                            .spans = view.spans,
                            .sinks = weights.sinks.empty() ? nullptr : weights.sinks.data(),
                            .value_scale = static_cast<float>(spec.value_scale)},
                           step.pool);
  }
  const PartTimer timer(step.times, Part::kProjections);
  if (spec.gate) GateForward(*spec.gate, weights.gate, spec.query_heads, spec.value_dim, step);
  const MatmulTarget output[] = {weights.o.To(step.sum(), hidden, /*accumulate=*/true)};
  Multiply(step, attention, out_width, output);
}

}  // namespace gannet
