#include "layers/plan_text.h"

#include "kv_cache/kv_plan.h"
#include "layers/workspace_plan.h"
#include "spec/describe.h"

namespace gannet {

PlanTexts DescribePlans(const ModelSpec& spec, NameStyle style) {
  return {.spec = Describe(spec) + "workspace: " + Describe(PlanWorkspace(spec)),
          .kv = Describe(PlanKv(spec, KvType::kBF16)),
          .tensors = Describe(PlanTensors(spec, style))};
}

}  // namespace gannet
