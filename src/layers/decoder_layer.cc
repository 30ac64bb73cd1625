#include "layers/decoder_layer.h"

#include <algorithm>

#include "layers/row_ops.h"
#include "spec/visit.h"

namespace gannet {

void StepContext::BeginSum(int64_t hidden) const {
  if (comm.ranks() > 1) std::fill_n(buffers[Area::kPartial], batch.rows() * hidden, 0.0f);
}

void StepContext::EndSum(int64_t hidden) const {
  if (comm.ranks() == 1) return;
  const PartTimer timer(times, Part::kExchange);
  float* part = buffers[Area::kPartial];
  comm.AllReduce({part, static_cast<size_t>(batch.rows() * hidden)});
  float* stream = buffers[Area::kHidden];
  for (int64_t i = 0; i < batch.rows() * hidden; ++i) stream[i] += part[i];
}

void DecoderLayer::Forward(const StepContext& step, const KvCache& cache) const {
  const float* hidden = step.buffers[Area::kHidden];
  float* normed = step.buffers[Area::kNormed];
  const int64_t width = static_cast<int64_t>(mixer_norm.size());
  Normalize(step, spec.norm, mixer_norm, hidden, width, normed, width);
  const auto at = [&cache](const Place& place) {
    return LayerCache{cache.Pages(place.kv.group, place.kv.layer_in_group), place.kv.group, place.rope};
  };
  step.BeginSum(width);
  std::visit(Overloaded{[&](const GroupedAttention& kind) {
                          MixerForward(kind, std::get<GroupedAttentionWeights>(mixer), step, at(keys));
                        },
                        [&](const LatentAttention& kind) {
                          MixerForward(kind, std::get<LatentAttentionWeights>(mixer), step, at(keys), at(index));
                        }},
             spec.mixer);
  step.EndSum(width);
  Normalize(step, spec.norm, ffn_norm, hidden, width, normed, width);
  step.BeginSum(width);
  {
    const PartTimer timer(step.times, Part::kFfn);
    std::visit(Overloaded{[&](const DenseFfn& kind) { FfnForward(kind, std::get<DenseFfnWeights>(ffn), step); },
                          [&](const MoeFfn& kind) { FfnForward(kind, std::get<MoeFfnWeights>(ffn), step); }},
               spec.ffn);
  }
  step.EndSum(width);
}

}  // namespace gannet
