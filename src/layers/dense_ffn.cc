#include "layers/decoder_layer.h"
#include "layers/row_ops.h"

namespace gannet {

void FfnForward(const DenseFfn& spec, const DenseFfnWeights& weights, const StepContext& step) {
  float* gate = step.buffers[Area::kFfnGate];
  float* up = step.buffers[Area::kFfnUp];
  const int64_t hidden = weights.down.weight->rows();
  const MatmulTarget inner[] = {weights.gate.To(gate, spec.width), weights.up.To(up, spec.width)};
  Multiply(step, step.buffers[Area::kNormed], hidden, inner);
  Activate(step, spec.activation, gate, up, step.batch.rows(), spec.width);
  const MatmulTarget output[] = {weights.down.To(step.sum(), hidden, /*accumulate=*/true)};
  Multiply(step, gate, spec.width, output);
}

}  // namespace gannet
