#include <algorithm>

#include "layers/decoder_layer.h"
#include "layers/row_ops.h"

namespace gannet {

void DraftLayer::Forward(const StepContext& step, const KvCache& cache, const float* hidden) const {
  const int64_t width = static_cast<int64_t>(hidden_norm.size());
  float* input = step.buffers[Area::kDraftInput];
  float* embeddings = step.buffers[Area::kHidden];
  for (int64_t row = 0; spec.skips_first && row < step.batch.rows(); ++row) {
    if (step.batch.positions[static_cast<size_t>(row)] == 0) std::fill_n(embeddings + row * width, width, 0.0f);
  }
  Normalize(step, spec.norm, embedding_norm, embeddings, width, input, 2 * width);
  Normalize(step, spec.norm, hidden_norm, hidden, width, input + width, 2 * width);
  const MatmulTarget target[] = {projection.To(embeddings, width)};
  Multiply(step, input, 2 * width, target);
  layer.Forward(step, cache);
}

}  // namespace gannet
