#include "layers/plan_text.h"

#include "checkpoint/shard_plan.h"
#include "kv_cache/kv_plan.h"
#include "layers/workspace_plan.h"
#include "spec/describe.h"

namespace gannet {

PlanTexts DescribePlans(const ModelSpec& spec, NameStyle style) {
  const ModelSpec running = WithoutDrafts(spec);
  const std::vector<PlannedTensor> plan = PlanTensors(running, style);
  PlanTexts texts{.spec = Describe(spec) + "workspace: " + Describe(PlanWorkspace(running)),
                  .kv = Describe(PlanKv(running, KvType::kBF16)),
                  .tensors = Describe(plan),
                  .shards = DescribeShards(running, plan)};
  if (spec.drafts.empty()) return texts;
  texts.kv += "with draft heads: " + Describe(PlanKv(spec, KvType::kBF16));
  std::vector<PlannedTensor> of_drafts = PlanTensors(spec, style);
  std::erase_if(of_drafts, [&](const PlannedTensor& tensor) { return tensor.layer < std::ssize(spec.layers); });
  texts.tensors += "draft heads: " + Describe(of_drafts);
  return texts;
}

}  // namespace gannet
