// Ties the tensors a model needs to the tensors a checkpoint has.
#pragma once

#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "base/weight.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/tensor_plan.h"

namespace gannet {

// A weight as it lies in the file. `transposed`: the maths wants the transpose, but blocks of a quantized format cannot
// be read that way; whoever loads it dequantizes and turns it.
struct BoundTensor {
  Weight weight;
  bool transposed = false;
};

class BoundTensors {
 public:
  // The weight at (layer, slot, index); layer -1 is the whole model, index an expert or head. Get asserts that the plan
  // had it, Find gives null.
  const BoundTensor& Get(int layer, Slot slot, int index = 0) const;
  const BoundTensor* Find(int layer, Slot slot, int index = 0) const;
  // What was found beside the plan and why it does no harm.
  const std::vector<std::string>& notices() const { return notices_; }

 private:
  friend BoundTensors Bind(const ModelSpec&, const std::vector<PlannedTensor>&, const Checkpoint&,
                           const std::vector<PlannedTensor>&);
  std::map<std::tuple<int, Slot, int>, BoundTensor> weights_;
  std::vector<std::string> notices_;
};

// Every planned tensor exists with its shape in a format that is recognised, and nothing is left over but what is known
// to be harmless: *.rotary_emb.inv_freq, an lm_head equal to a tied embedding byte for byte, and what the spec calls
// unused. Throws LoadError("checkpoint", ...) naming tensors. The checkpoint must outlive the weights.
// `part`: the weights to bind where they are a part of the plan (ShardTensors); empty: all of it.
BoundTensors Bind(const ModelSpec& spec, const std::vector<PlannedTensor>& plan, const Checkpoint& checkpoint,
                  const std::vector<PlannedTensor>& part = {});

}  // namespace gannet
