#include "layers/decoder_layer.h"
#include "layers/row_ops.h"

namespace gannet {

void FfnForward(const DenseFfn& spec, const DenseFfnWeights& weights, const StepContext& step) {
  float* inner = step.buffers[Area::kFfnInner];
  const int64_t hidden = weights.down.weight->rows();
  const MatmulTarget gated[] = {weights.Inner(spec.activation, inner, spec.width)};
  Multiply(step, step.buffers[Area::kNormed], hidden, gated);
  const MatmulTarget output[] = {weights.down.To(step.sum(), hidden, /*accumulate=*/true)};
  Multiply(step, inner, spec.width, output);
}

}  // namespace gannet
