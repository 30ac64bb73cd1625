// Which tensors a model needs: a pure function of the spec.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "spec/layer_spec.h"

namespace gannet {

// What a tensor is to the maths. Layers ask for weights by slot, never by name.
enum class Slot {
  kEmbedding,     // [vocab, hidden]
  kFinalNorm,     // [hidden]
  kLmHead,        // [vocab, hidden]; absent from the plan with tied embeddings
  kRopeDivisors,  // [rope dims / 2]
  kMixerNorm,     // [hidden]
  kFfnNorm,       // [hidden]
  kQ,
  kK,
  kV,
  kO,  // projections [out, in]
  kQBias,
  kKBias,
  kVBias,
  kOBias,  // [out]
  kQNorm,
  kKNorm,  // [key_dim]
  kFfnGate,
  kFfnUp,
  kFfnDown,  // [out, in]
  kFfnGateBias,
  kFfnUpBias,
  kFfnDownBias,
};
std::string_view NameOf(Slot slot);

enum class NameStyle { kHuggingFace, kGguf };

struct PlannedTensor {
  int layer = -1;  // -1: of the whole model
  Slot slot = Slot::kEmbedding;
  std::string name;  // in the file
  int64_t rows = 1;  // N; 1 for vectors
  int64_t cols = 0;  // K
};
bool IsVector(Slot slot);  // norms, biases, divisors: stored with one dimension
std::vector<PlannedTensor> PlanTensors(const ModelSpec& spec, NameStyle style);
// A count, then one line "name [rows, cols]" for each tensor.
std::string Describe(const std::vector<PlannedTensor>& plan);

}  // namespace gannet
