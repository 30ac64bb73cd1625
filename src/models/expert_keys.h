// Mixture-of-experts layers, gates and draft heads as configurations spell them, the DeepSeek-V3 family above all.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "models/common_keys.h"
#include "models/config_reader.h"
#include "spec/layer_spec.h"

namespace gannet {

// The names a configuration may give to a number of experts, the number a row chooses, an expert's width, and groups.
struct ExpertKeys {
  std::vector<std::string_view> count{"n_routed_experts", "num_local_experts", "num_experts"};
  std::vector<std::string_view> chosen{"num_experts_per_tok"};
  std::string_view width = "moe_intermediate_size";
  std::string_view groups = "n_group";
  std::string_view chosen_groups = "topk_group";
};
// Counts and width. moe.router's groups are the caller's; whether the experts fit them is checked here.
void ReadExperts(ConfigReader& reader, const ExpertKeys& keys, MoeFfn& moe);
// The width of `key`'s shared experts side by side; 0 without any. They are as wide as moe's experts.
int64_t ReadSharedWidth(ConfigReader& reader, std::string_view key, int64_t otherwise, const MoeFfn& moe);
// mlp_layer_types ("sparse" or "dense"), or else `sparse`; says so when it overrules `other`, which made `sparse`.
std::vector<bool> ReadMlpLayerTypes(ConfigReader& reader, const ModelFrame& frame, std::vector<bool> sparse,
                                    std::string_view other);
// The feed-forward of every layer: mlp_layer_types when given, else first_k_dense_replace (without it `dense`) and
// moe_layer_freq.
struct DeepseekFfns {
  std::vector<Ffn> layers;
  DenseFfn dense;  // the two kinds
  MoeFfn moe;
};
DeepseekFfns ReadDeepseekFfns(ConfigReader& reader, const ModelFrame& frame, int64_t dense = 0);
// num_nextn_predict_layers: how many draft heads there are, and that their tensors are called as those of layers behind
// the last one.
void ReadDraftCount(ConfigReader& reader, ModelFrame& frame);
// Keys that only training or a cluster uses.
void IgnoreExpertHousekeeping(ConfigReader& reader);
// use_gated_attn, use_bias, gated_attn_act (FastDeploy #7404). `o_bias` is set when use_bias gives o_proj one.
std::optional<AttentionGate> ReadGate(ConfigReader& reader, bool& o_bias);

}  // namespace gannet
