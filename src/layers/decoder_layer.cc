#include "layers/decoder_layer.h"

#include "layers/row_ops.h"
#include "spec/visit.h"

namespace gannet {

void DecoderLayer::Forward(const StepContext& step, const KvCache& cache) const {
  const float* hidden = step.buffers[Area::kHidden];
  float* normed = step.buffers[Area::kNormed];
  const int64_t width = static_cast<int64_t>(mixer_norm.size());
  Normalize(step, spec.norm, mixer_norm, hidden, width, normed, width);
  const auto at = [&cache](const Place& place) {
    return LayerCache{cache.Pages(place.kv.group, place.kv.layer_in_group), place.kv.group, place.rope};
  };
  std::visit(Overloaded{[&](const GroupedAttention& kind) {
                          MixerForward(kind, std::get<GroupedAttentionWeights>(mixer), step, at(keys));
                        },
                        [&](const LatentAttention& kind) {
                          MixerForward(kind, std::get<LatentAttentionWeights>(mixer), step, at(keys), at(index));
                        }},
             spec.mixer);
  Normalize(step, spec.norm, ffn_norm, hidden, width, normed, width);
  const PartTimer timer(step.times, Part::kFfn);
  std::visit(Overloaded{[&](const DenseFfn& kind) { FfnForward(kind, std::get<DenseFfnWeights>(ffn), step); },
                        [&](const MoeFfn& kind) { FfnForward(kind, std::get<MoeFfnWeights>(ffn), step); }},
             spec.ffn);
}

}  // namespace gannet
