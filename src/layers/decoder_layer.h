// One decoder layer: spec + weights + a step's rows -> maths.
#pragma once

#include <memory>
#include <variant>
#include <vector>

#include "comm/communicator.h"
#include "kernels/kernels.h"
#include "kv_cache/kv_cache.h"
#include "layers/batch.h"
#include "layers/part_times.h"
#include "layers/workspace.h"
#include "spec/layer_spec.h"

namespace gannet {

// What every layer of a step shares. Widths per row come from the workspace plan.
struct StepContext {
  const Kernels& kernels;
  ThreadPool& pool;
  const Batch& batch;
  Buffers& buffers;
  PartTimes& times;
  Communicator& comm;

  // Where a mixer or feed-forward adds what it computes. Of several ranks each has a part of it, which starts from zero
  // and which EndSum adds up.
  float* sum() const { return buffers[comm.ranks() > 1 ? Area::kPartial : Area::kHidden]; }
  void BeginSum(int64_t hidden) const;
  void EndSum(int64_t hidden) const;
};

// A projection as it is multiplied with: packed weight and bias.
struct Linear {
  std::unique_ptr<PackedMatrix> weight;
  std::vector<float> bias;  // [rows] or empty

  MatmulTarget To(float* out, int64_t stride, bool accumulate = false) const {
    return {.weight = weight.get(), .out = out, .out_stride = stride, .bias = bias_or_null(), .accumulate = accumulate};
  }
  const float* bias_or_null() const { return bias.empty() ? nullptr : bias.data(); }
};

struct GroupedAttentionWeights {
  Linear q, k, v, o;
  std::vector<float> q_norm, k_norm;  // [key_dim] or empty
  std::vector<float> sinks;           // [query_heads] or empty
  Linear gate;                        // without a weight when the spec has no gate
};
struct IndexerWeights {
  Linear q, k, weights;
  std::vector<float> k_norm, k_norm_bias;  // [dim]
};
struct LatentAttentionWeights {
  Linear q_down;                   // without a query bottleneck none,
  std::vector<float> q_down_norm;  // empty,
  Linear q;                        // and from hidden
  Linear kv_down;
  std::vector<float> latent_norm;
  // Per head: latent -> key and value, and nope -> latent for queries of generated rows.
  std::vector<Linear> key_up, value_up, key_up_t;
  Linear o;
  Linear gate;
  IndexerWeights indexer;  // empty when the spec has none
};
struct DenseFfnWeights {
  Linear gate, up, down;

  // activation(gate) * up.
  MatmulTarget Inner(const ActivationSpec& activation, float* out, int64_t stride) const {
    MatmulTarget target = gate.To(out, stride);
    target.up = up.weight.get();
    target.up_bias = up.bias_or_null();
    target.activation = activation;
    return target;
  }
};
struct MoeFfnWeights {
  Linear router;
  std::vector<float> correction;  // [experts] or empty
  std::vector<DenseFfnWeights> experts;
  DenseFfnWeights shared;
};

// Where a layer finds its keys: its memory, its cache group, its rotary embedding in Batch::ropes (unused without one).
struct LayerCache {
  KvPages pages;
  size_t group = 0;
  size_t rope = 0;
};

// Each reads normed and adds to hidden.
void MixerForward(const GroupedAttention& spec, const GroupedAttentionWeights& weights, const StepContext& step,
                  const LayerCache& cache);
// `index`: of the keys of the layer's indexer, unused without one.
void MixerForward(const LatentAttention& spec, const LatentAttentionWeights& weights, const StepContext& step,
                  const LayerCache& cache, const LayerCache& index);
void FfnForward(const DenseFfn& spec, const DenseFfnWeights& weights, const StepContext& step);
void FfnForward(const MoeFfn& spec, const MoeFfnWeights& weights, const StepContext& step);

// Multiplies Area::kAttention by activation(gate of normed).
void GateForward(const AttentionGate& spec, const Linear& weights, int64_t heads, int64_t value_dim,
                 const StepContext& step);

// Weights of a kind stand in the same order as the kinds of the spec.
using MixerWeights = std::variant<GroupedAttentionWeights, LatentAttentionWeights>;
using FfnWeights = std::variant<DenseFfnWeights, MoeFfnWeights>;

struct DecoderLayer {
  LayerSpec spec;
  MixerWeights mixer;
  FfnWeights ffn;
  std::vector<float> mixer_norm;  // [hidden]
  std::vector<float> ffn_norm;    // [hidden]
  // Its keys and those of its indexer: cache groups and Batch::ropes.
  struct Place {
    KvPlan::Place kv = {};
    size_t rope = 0;
  };
  Place keys;
  Place index;

  // Updates step.buffers.hidden in place.
  void Forward(const StepContext& step, const KvCache& cache) const;
};

// A draft head with what it owns; embedding and, unless lm_head has a weight, lm_head are the model's.
struct DraftLayer {
  DraftHead spec;
  std::vector<float> embedding_norm, hidden_norm;  // [hidden]
  Linear projection;
  DecoderLayer layer;
  std::vector<float> norm;  // [hidden], empty without
  Linear lm_head;

  // `hidden`, dense rows of the step, as the head takes it in; Area::kHidden holds the embeddings of the rows' tokens.
  // Leaves there what the layer makes, before the head's norm.
  void Forward(const StepContext& step, const KvCache& cache, const float* hidden) const;
};

}  // namespace gannet
