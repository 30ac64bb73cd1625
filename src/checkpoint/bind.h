// Ties the tensors a model needs to the tensors a checkpoint has.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/weight.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/tensor_plan.h"

namespace gannet {

class BoundTensors {
 public:
  // The weight at (layer, slot); layer -1 is the whole model. Get asserts that the plan had it, Find gives null.
  const Weight& Get(int layer, Slot slot) const;
  const Weight* Find(int layer, Slot slot) const;
  // What was found beside the plan and why it does no harm.
  const std::vector<std::string>& notices() const { return notices_; }

 private:
  friend BoundTensors Bind(const std::vector<PlannedTensor>&, const Checkpoint&);
  std::map<std::pair<int, Slot>, Weight> weights_;
  std::vector<std::string> notices_;
};

// Every planned tensor exists with its shape in a format that is recognised, and nothing is left over but what is known
// to be harmless: *.rotary_emb.inv_freq, and an lm_head equal to a tied embedding byte for byte. Throws
// LoadError("checkpoint", ...) naming tensors. The checkpoint must outlive the weights.
BoundTensors Bind(const std::vector<PlannedTensor>& plan, const Checkpoint& checkpoint);

}  // namespace gannet
