#include "layers/decoder_layer.h"
#include "layers/row_ops.h"

namespace gannet {

void GateForward(const AttentionGate& spec, const Linear& weights, int64_t heads, int64_t value_dim,
                 const StepContext& step) {
  float* gate = step.buffers[Area::kGate];
  float* attention = step.buffers[Area::kAttention];
  const int64_t width = weights.weight->rows();
  const MatmulTarget target[] = {weights.To(gate, width)};
  Multiply(step, step.buffers[Area::kNormed], weights.weight->cols(), target);
  step.kernels.gated_activation({.gate = gate,
                                 .gate_stride = width,
                                 .up = attention,
                                 .up_stride = heads * value_dim,
                                 .out = attention,
                                 .out_stride = heads * value_dim,
                                 .rows = step.batch.rows(),
                                 .width = heads * value_dim,
                                 .gate_repeat = spec.per == AttentionGate::Per::kHead ? value_dim : 1,
                                 .activation = {.kind = spec.activation}},
                                step.pool);
}

}  // namespace gannet
