#include "layers/decoder_layer.h"

#include "layers/row_ops.h"

namespace gannet {

void DecoderLayer::Forward(const StepContext& step, const KvPages& pages) const {
  const float* hidden = step.buffers[Area::kHidden];
  float* normed = step.buffers[Area::kNormed];
  const int64_t width = static_cast<int64_t>(mixer_norm.size());
  Normalize(step, spec.norm, mixer_norm, hidden, width, normed, width);
  std::visit(
      [&](const auto& kind) {
        using Kind = std::decay_t<decltype(kind)>;
        using Weights =
            std::conditional_t<std::is_same_v<Kind, LatentAttention>, LatentAttentionWeights, GroupedAttentionWeights>;
        MixerForward(kind, std::get<Weights>(mixer), step, {pages, kv_group, rope});
      },
      spec.mixer);
  Normalize(step, spec.norm, ffn_norm, hidden, width, normed, width);
  std::visit(
      [&](const auto& kind) {
        using Kind = std::decay_t<decltype(kind)>;
        using Weights = std::conditional_t<std::is_same_v<Kind, MoeFfn>, MoeFfnWeights, DenseFfnWeights>;
        FfnForward(kind, std::get<Weights>(ffn), step);
      },
      spec.ffn);
}

}  // namespace gannet
