// Mixture-of-experts layers as the DeepSeek-V3 family spells them: GLM-4.5 and later, GLM-4.7-Flash, DeepSeek-V3.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "models/common_keys.h"
#include "models/config_reader.h"
#include "spec/layer_spec.h"

namespace gannet {

// The names a configuration may give to a number of experts, the number a row chooses, and an expert's width.
struct ExpertKeys {
  std::vector<std::string_view> count{"n_routed_experts", "num_local_experts", "num_experts"};
  std::vector<std::string_view> chosen{"num_experts_per_tok"};
  std::string_view width = "moe_intermediate_size";
};
// A row chooses among those of moe.router's chosen groups.
void ReadExperts(ConfigReader& reader, const ExpertKeys& keys, MoeFfn& moe);
// mlp_layer_types ("sparse" or "dense"), or else `sparse`; says so when it overrules `other`, which made `sparse`.
std::vector<bool> ReadMlpLayerTypes(ConfigReader& reader, const ModelFrame& frame, std::vector<bool> sparse,
                                    std::string_view other);
// The feed-forward of every layer: mlp_layer_types when given, else first_k_dense_replace (without it `dense`) and
// moe_layer_freq.
std::vector<Ffn> ReadDeepseekFfns(ConfigReader& reader, const ModelFrame& frame, int64_t dense = 0);
// num_nextn_predict_layers: the draft heads behind the last layer, whose tensors are not read.
void ReadDraftLayers(ConfigReader& reader, ModelFrame& frame);
// Keys that only training or a cluster uses.
void IgnoreExpertHousekeeping(ConfigReader& reader);
// use_gated_attn, use_bias, gated_attn_act (FastDeploy #7404). `o_bias` is set when use_bias gives o_proj one.
std::optional<AttentionGate> ReadGate(ConfigReader& reader, bool& o_bias);

}  // namespace gannet
