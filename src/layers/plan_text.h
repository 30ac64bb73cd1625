// All plans of a model as text: the golden files of tests/configs, written by `gannet inspect CONFIG --plans FOLDER`.
#pragma once

#include <string>

#include "checkpoint/tensor_plan.h"
#include "spec/layer_spec.h"

namespace gannet {

struct PlanTexts {
  std::string spec;     // spec.txt: the spec, then the workspace
  std::string kv;       // kv.txt: the cache, in bf16; once more with draft heads if there are any
  std::string tensors;  // tensors.txt; those of draft heads apart
  std::string shards;   // shards.txt, kept for some models: what each of 1, 2, 4 and 8 ranks reads
};
PlanTexts DescribePlans(const ModelSpec& spec, NameStyle style);

}  // namespace gannet
