// One decoder layer: spec + weights + a step's rows -> maths.
#pragma once

#include <memory>
#include <variant>
#include <vector>

#include "kernels/kernels.h"
#include "layers/batch.h"
#include "layers/workspace.h"
#include "spec/layer_spec.h"

namespace gannet {

// What every layer of a step shares. Widths per row come from the workspace plan.
struct StepContext {
  const Kernels& kernels;
  ThreadPool& pool;
  const Batch& batch;
  Buffers& buffers;
};

// A projection as it is multiplied with: packed weight and bias.
struct Linear {
  std::unique_ptr<PackedMatrix> weight;
  std::vector<float> bias;  // [rows] or empty

  MatmulTarget To(float* out, int64_t stride, bool accumulate = false) const {
    return {weight.get(), out, stride, bias.empty() ? nullptr : bias.data(), accumulate};
  }
};

struct GroupedAttentionWeights {
  Linear q, k, v, o;
  std::vector<float> q_norm, k_norm;  // [key_dim] or empty
};
struct DenseFfnWeights {
  Linear gate, up, down;
};

// Reads normed, adds to hidden. `pages` is this layer's cache, `group` its cache group, `rope` its rotary embedding in
// Batch::ropes (unused without one).
void GroupedAttentionForward(const GroupedAttention& spec, const GroupedAttentionWeights& weights,
                             const StepContext& step, const KvPages& pages, size_t group, size_t rope);
void DenseFfnForward(const DenseFfn& spec, const DenseFfnWeights& weights, const StepContext& step);

// Weights of a kind stand in the same order as the kinds of the spec.
using MixerWeights = std::variant<GroupedAttentionWeights>;
using FfnWeights = std::variant<DenseFfnWeights>;

struct DecoderLayer {
  LayerSpec spec;
  MixerWeights mixer;
  FfnWeights ffn;
  std::vector<float> mixer_norm;  // [hidden]
  std::vector<float> ffn_norm;    // [hidden]
  size_t kv_group = 0;
  size_t layer_in_group = 0;
  size_t rope = 0;

  // Updates step.buffers.hidden in place.
  void Forward(const StepContext& step, const KvPages& pages) const;
};

}  // namespace gannet
