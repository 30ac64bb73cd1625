#include "layers/decoder_layer.h"

namespace gannet {

void DenseFfnForward(const DenseFfn& spec, const DenseFfnWeights& weights, const StepContext& step) {
  Buffers& b = step.buffers;
  const int64_t rows = step.batch.rows();
  const int64_t hidden = weights.down.weight->rows();
  const MatmulTarget inner[] = {weights.gate.To(b.gate.data(), spec.width), weights.up.To(b.up.data(), spec.width)};
  step.kernels.matmul({b.normed.data(), hidden, rows, hidden, inner}, step.pool);
  step.kernels.gated_activation({.gate = b.gate.data(),
                                 .gate_stride = spec.width,
                                 .up = b.up.data(),
                                 .up_stride = spec.width,
                                 .out = b.gate.data(),
                                 .out_stride = spec.width,
                                 .rows = rows,
                                 .width = spec.width,
                                 .activation = spec.activation},
                                step.pool);
  const MatmulTarget output[] = {weights.down.To(b.hidden.data(), hidden, /*accumulate=*/true)};
  step.kernels.matmul({b.gate.data(), spec.width, rows, spec.width, output}, step.pool);
}

}  // namespace gannet
