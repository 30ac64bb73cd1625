// Mixture-of-experts layers as the DeepSeek-V3 family spells them: GLM-4.5 and later, GLM-4.7-Flash, DeepSeek-V3.
#pragma once

#include <initializer_list>
#include <optional>
#include <string_view>
#include <vector>

#include "models/common_keys.h"
#include "models/config_reader.h"
#include "spec/layer_spec.h"

namespace gannet {

// How many experts there are (under any of `count_keys`), num_experts_per_tok of which a row chooses (among those
// of moe.router's chosen groups), and moe_intermediate_size.
void ReadExperts(ConfigReader& reader, std::initializer_list<std::string_view> count_keys, MoeFfn& moe);
// The feed-forward of every layer: mlp_layer_types when given, else first_k_dense_replace and moe_layer_freq.
std::vector<Ffn> ReadDeepseekFfns(ConfigReader& reader, int64_t layers);
// num_nextn_predict_layers: the draft heads behind the last layer, whose tensors are not read.
void ReadDraftLayers(ConfigReader& reader, ModelFrame& frame);
// Keys that only training or a cluster uses.
void IgnoreExpertHousekeeping(ConfigReader& reader);
// use_gated_attn, use_bias, gated_attn_act (FastDeploy #7404). `o_bias` is set when use_bias gives o_proj one.
std::optional<AttentionGate> ReadGate(ConfigReader& reader, bool& o_bias);

}  // namespace gannet
