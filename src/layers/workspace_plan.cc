#include "layers/workspace_plan.h"

#include <fmt/format.h>

#include <algorithm>

#include "spec/visit.h"

namespace gannet {

WorkspacePlan PlanWorkspace(const ModelSpec& spec) {
  WorkspacePlan plan;
  plan.hidden = plan.normed = spec.hidden;
  plan.logits = spec.vocab;
  for (const LayerSpec& layer : spec.layers) {
    std::visit(Overloaded{[&](const GroupedAttention& mixer) {
                 plan.q = std::max(plan.q, mixer.query_heads * mixer.key_dim);
                 plan.k = std::max(plan.k, mixer.kv_heads * mixer.key_dim);
                 plan.v = std::max(plan.v, mixer.kv_heads * mixer.value_dim);
                 plan.attention = std::max(plan.attention, mixer.query_heads * mixer.value_dim);
               }},
               layer.mixer);
    std::visit(Overloaded{[&](const DenseFfn& ffn) {
                 plan.gate = std::max(plan.gate, ffn.width);
                 plan.up = std::max(plan.up, ffn.width);
               }},
               layer.ffn);
    std::visit(Overloaded{[](const PreNormResidual&) {}}, layer.residual);
  }
  return plan;
}

std::string Describe(const WorkspacePlan& plan) {
  return fmt::format(
      "{} floats per row: hidden {}, normed {}, q {}, k {}, v {}, attention {}, gate {}, up {}; logits {}\n",
      plan.floats_per_row(), plan.hidden, plan.normed, plan.q, plan.k, plan.v, plan.attention, plan.gate, plan.up,
      plan.logits);
}

}  // namespace gannet
