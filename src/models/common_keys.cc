#include "models/common_keys.h"

#include <fmt/format.h>

#include <cmath>

#include "base/result.h"

namespace gannet {

void IgnoreHousekeeping(ConfigReader& reader) {
  reader.Ignore({"architectures", "_name_or_path", "transformers_version", "auto_map", "tokenizer_class"},
                "says what the files are, not what the model computes");
  reader.Ignore({"torch_dtype", "dtype", "quantization_config"}, "every tensor's own type counts");
  reader.Ignore({"bos_token_id", "eos_token_id", "pad_token_id", "unk_token_id", "sep_token_id"},
                "read with the tokenizer");
  reader.Ignore({"initializer_range", "attention_dropout", "hidden_dropout", "embd_pdrop", "resid_pdrop"},
                "only training uses it");
  reader.Ignore({"use_cache", "return_dict", "output_attentions", "output_hidden_states", "torchscript",
                 "_attn_implementation", "attn_implementation", "_attn_implementation_autoset", "use_return_dict"},
                "how the Python program runs it");
  reader.Ignore({"chunk_size_feed_forward"}, "splits the work, not the result");
  reader.Ignore({"id2label", "label2id", "num_labels", "problem_type", "finetuning_task", "task_specific_params"},
                "for classifiers");
  reader.Ignore({"transformers.js_config"}, "for another program");
  reader.Expect("is_encoder_decoder", {false});
  reader.Expect("add_cross_attention", {false});
}

ModelFrame ReadHfFrame(ConfigReader& reader, std::string_view model_type) {
  ModelFrame frame;
  reader.Expect("model_type", {model_type});
  frame.spec.hidden = reader.Required<int64_t>("hidden_size");
  frame.spec.vocab = reader.Required<int64_t>("vocab_size");
  frame.spec.max_positions = reader.Required<int64_t>("max_position_embeddings", kTokenCount);
  frame.layer_count = reader.Required<int64_t>("num_hidden_layers", kLayerCount);
  const auto epsilon = FindAlias<double>(reader, {"rms_norm_eps", "layernorm_epsilon"});
  if (!epsilon) reader.Notice("rms_norm_eps is absent: 1e-6 taken, as transformers does");
  frame.norm.epsilon = epsilon.value_or(1e-6);
  frame.spec.final_norm = frame.norm;
  frame.spec.tied_embeddings = reader.Optional<bool>("tie_word_embeddings", false);
  IgnoreHousekeeping(reader);
  return frame;
}

void AddDrafts(ModelFrame& frame, const Mixer& mixer, const Ffn& ffn) {
  for (int64_t i = 0; i < frame.draft_count; ++i) {
    frame.spec.drafts.push_back({.layer = {mixer, ffn, PreNormResidual{}, frame.norm}, .norm = frame.norm});
  }
}

void AddLayers(ModelFrame& frame, const std::vector<Mixer>& mixers, const std::vector<Ffn>& ffns) {
  GANNET_ASSERT(mixers.size() == ffns.size(), "one of each for every layer");
  for (size_t layer = 0; layer < ffns.size(); ++layer) {
    frame.spec.layers.push_back({mixers[layer], ffns[layer], PreNormResidual{}, frame.norm});
  }
}

void AddLayers(ModelFrame& frame, const std::vector<GroupedAttention>& mixers, const std::vector<Ffn>& ffns) {
  AddLayers(frame, std::vector<Mixer>(mixers.begin(), mixers.end()), ffns);
}

void AddLayers(ModelFrame& frame, const std::vector<GroupedAttention>& mixers, const Ffn& ffn) {
  for (const GroupedAttention& mixer : mixers) frame.spec.layers.push_back({mixer, ffn, PreNormResidual{}, frame.norm});
}

void AddLayers(ModelFrame& frame, const Mixer& mixer, const std::vector<Ffn>& ffns) {
  for (const Ffn& ffn : ffns) frame.spec.layers.push_back({mixer, ffn, PreNormResidual{}, frame.norm});
}

template <typename T>
std::vector<T> ForEachLayer(const ConfigReader& reader, std::string_view key, std::vector<T> list,
                            const ModelFrame& frame) {
  const auto size = static_cast<int64_t>(list.size());
  if (size != frame.layer_count && size != frame.layer_count + frame.draft_count) {
    reader.Fail(key, fmt::format("has {} entries for {} layers", list.size(), frame.layer_count));
  }
  list.resize(static_cast<size_t>(frame.layer_count));
  return list;
}
template std::vector<int64_t> ForEachLayer(const ConfigReader&, std::string_view, std::vector<int64_t>,
                                           const ModelFrame&);
template std::vector<double> ForEachLayer(const ConfigReader&, std::string_view, std::vector<double>,
                                          const ModelFrame&);
template std::vector<std::string> ForEachLayer(const ConfigReader&, std::string_view, std::vector<std::string>,
                                               const ModelFrame&);

DenseFfn ReadHfDenseFfn(ConfigReader& reader, bool biases) {
  DenseFfn ffn;
  ffn.width = reader.Required<int64_t>("intermediate_size");
  reader.Expect("hidden_act", {"silu", "swish"});
  ffn.activation = {};
  ffn.biases = biases;
  return ffn;
}

int64_t HfHeadDim(ConfigReader& reader, int64_t hidden, int64_t heads) {
  return reader.Has("head_dim") ? reader.Required<int64_t>("head_dim")
                                : DivideExactly(reader, "hidden_size", hidden, "num_attention_heads", heads);
}

GroupedAttention HfGroupedAttention(ConfigReader& reader, int64_t query_heads, int64_t kv_heads, int64_t head_dim) {
  DivideExactly(reader, "num_attention_heads", query_heads, "num_key_value_heads", kv_heads);
  CheckedWidth(reader, "num_attention_heads", query_heads, head_dim);
  GroupedAttention attention;
  attention.query_heads = query_heads;
  attention.kv_heads = kv_heads;
  attention.key_dim = attention.value_dim = head_dim;
  attention.scale = 1 / std::sqrt(static_cast<double>(head_dim));
  return attention;
}

}  // namespace gannet
