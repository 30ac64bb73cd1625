#include "layers/decoder_layer.h"

namespace gannet {
namespace {

void Normalize(const RmsNormSpec& spec, const std::vector<float>& weight, const StepContext& step) {
  const int64_t hidden = static_cast<int64_t>(weight.size());
  step.kernels.rms_norm({.x = step.buffers.hidden.data(),
                         .x_stride = hidden,
                         .out = step.buffers.normed.data(),
                         .out_stride = hidden,
                         .rows = step.batch.rows(),
                         .groups = 1,
                         .dim = hidden,
                         .weight = weight.data(),
                         .epsilon = static_cast<float>(spec.epsilon)},
                        step.pool);
}

}  // namespace

void DecoderLayer::Forward(const StepContext& step, const KvPages& pages) const {
  Normalize(spec.norm, mixer_norm, step);
  std::visit(
      [&](const GroupedAttention& attention) {
        GroupedAttentionForward(attention, std::get<GroupedAttentionWeights>(mixer), step, pages, kv_group, rope);
      },
      spec.mixer);
  Normalize(spec.norm, ffn_norm, step);
  std::visit([&](const DenseFfn& dense) { DenseFfnForward(dense, std::get<DenseFfnWeights>(ffn), step); }, spec.ffn);
}

}  // namespace gannet
