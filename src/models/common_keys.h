// Keys that every architecture of a dialect spells the same way.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "models/config_reader.h"
#include "models/registry.h"
#include "spec/layer_spec.h"

namespace gannet {

// The parts of a model around its layers, with `layers` left empty, and how many layers there are.
struct ModelFrame {
  ModelSpec spec;
  int64_t layer_count = 0;
  int64_t draft_count = 0;  // heads behind the layers
  RmsNormSpec norm;
};

// hidden_size, vocab_size, num_hidden_layers, max_position_embeddings, rms_norm_eps (or layernorm_epsilon),
// tie_word_embeddings; the keys of every configuration that do not touch the maths are ignored with their reasons.
ModelFrame ReadHfFrame(ConfigReader& reader, std::string_view model_type);
// The keys that say nothing of the maths, and why.
void IgnoreHousekeeping(ConfigReader& reader);
// Pre-norm layers of these mixers and feed-forwards, one of each for every layer, or one for all.
void AddLayers(ModelFrame& frame, const std::vector<Mixer>& mixers, const std::vector<Ffn>& ffns);
void AddLayers(ModelFrame& frame, const std::vector<GroupedAttention>& mixers, const std::vector<Ffn>& ffns);
void AddLayers(ModelFrame& frame, const std::vector<GroupedAttention>& mixers, const Ffn& ffn);
void AddLayers(ModelFrame& frame, const Mixer& mixer, const std::vector<Ffn>& ffns);
// frame.draft_count heads with such a layer; the rest of a head as DeepSeek-V3 has it.
void AddDrafts(ModelFrame& frame, const Mixer& mixer, const Ffn& ffn);
// A list for every layer may go on over the draft heads behind them; any other length is refused. Cuts it.
template <typename T>
std::vector<T> ForEachLayer(const ConfigReader& reader, std::string_view key, std::vector<T> list,
                            const ModelFrame& frame);
// intermediate_size, hidden_act; `biases` is the architecture's own affair.
DenseFfn ReadHfDenseFfn(ConfigReader& reader, bool biases);
// head_dim, or the heads' equal share of hidden_size.
int64_t HfHeadDim(ConfigReader& reader, int64_t hidden, int64_t heads);
// num_attention_heads and num_key_value_heads over `head_dim`, with the usual scale 1 / sqrt(head_dim).
GroupedAttention HfGroupedAttention(ConfigReader& reader, int64_t query_heads, int64_t kv_heads, int64_t head_dim);

}  // namespace gannet
