// Rotary position embeddings: frequencies from a spec, cos and sin for the rows of a step.
#pragma once

#include <span>
#include <vector>

#include "layers/batch.h"
#include "spec/layer_spec.h"

namespace gannet {

class RopeTable {
 public:
  // `divisors`: the tensor a RopeDivisors names, [dims / 2]; empty for every other scaling.
  RopeTable(const RopeSpec& spec, std::span<const float> divisors);

  const RopeSpec& spec() const { return spec_; }
  std::span<const float> inverse_frequencies() const { return inverse_frequencies_; }  // [dims / 2]
  // cos and sin of position * inverse frequency, times the scaling's attention factor.
  void Fill(std::span<const int32_t> positions, BatchRope& out) const;

 private:
  RopeSpec spec_;
  std::vector<float> inverse_frequencies_;
  float amplitude_ = 1;
};

}  // namespace gannet
