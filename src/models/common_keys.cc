#include "models/common_keys.h"

#include <fmt/format.h>

#include <cmath>

#include "models/rope.h"

namespace gannet {

void IgnoreHousekeeping(ConfigReader& reader) {
  reader.Ignore({"architectures", "_name_or_path", "transformers_version", "auto_map", "tokenizer_class"},
                "says what the files are, not what the model computes");
  reader.Ignore({"torch_dtype", "dtype"}, "every tensor's own type counts");
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

template <typename T>
std::vector<T> ForEachLayer(const ConfigReader& reader, std::string_view key, std::vector<T> list,
                            const ModelFrame& frame) {
  const auto size = static_cast<int64_t>(list.size());
  if (size != frame.layer_count && size != frame.layer_count + frame.spec.draft_layers) {
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

ModelSpec ReadGgufDense(ConfigReader& reader, const ModelSource& source, const std::string& prefix,
                        const GgufDenseOptions& options) {
  const auto has = [&source](std::string_view name) { return source.has_tensor && source.has_tensor(name); };
  ModelSpec spec;
  spec.hidden = reader.Required<int64_t>(prefix + "embedding_length");
  spec.max_positions = reader.Required<int64_t>(prefix + "context_length", kTokenCount);
  const std::optional<int64_t> vocab = reader.Find<int64_t>(prefix + "vocab_size");
  if (!vocab && source.tokenizer_size == 0) reader.Fail(prefix + "vocab_size", "is missing, and so is the tokenizer");
  spec.vocab = vocab.value_or(source.tokenizer_size);
  spec.tied_embeddings = !has("output.weight");
  if (spec.tied_embeddings) reader.Notice("no tensor output.weight: the embedding serves as lm_head");
  RmsNormSpec norm{reader.Required<double>(prefix + "attention.layer_norm_rms_epsilon")};
  spec.final_norm = norm;

  const std::string heads_key = prefix + "attention.head_count";
  const int64_t heads = reader.Required<int64_t>(heads_key);
  const int64_t kv_heads = reader.Optional<int64_t>(prefix + "attention.head_count_kv", heads);
  DivideExactly(reader, heads_key, heads, prefix + "attention.head_count_kv", kv_heads);
  const std::string key_length = prefix + "attention.key_length";
  GroupedAttention attention;
  attention.query_heads = heads;
  attention.kv_heads = kv_heads;
  attention.key_dim = reader.Has(key_length)
                          ? reader.Required<int64_t>(key_length)
                          : DivideExactly(reader, prefix + "embedding_length", spec.hidden, heads_key, heads);
  attention.value_dim = reader.Optional<int64_t>(prefix + "attention.value_length", attention.key_dim);
  CheckedWidth(reader, heads_key, heads, attention.key_dim);
  CheckedWidth(reader, heads_key, heads, attention.value_dim);
  attention.scale = 1 / std::sqrt(static_cast<double>(attention.key_dim));
  attention.rope = ReadGgufRope(reader, source, prefix, attention.key_dim, spec.max_positions, options.pairing);
  if (options.qk_norm) attention.qk_norm = norm;
  attention.biases = {.q = has("blk.0.attn_q.bias"),
                      .k = has("blk.0.attn_k.bias"),
                      .v = has("blk.0.attn_v.bias"),
                      .o = has("blk.0.attn_output.bias")};
  DenseFfn ffn;
  ffn.width = reader.Required<int64_t>(prefix + "feed_forward_length");
  ffn.biases = has("blk.0.ffn_gate.bias");
  reader.Expect(prefix + "expert_count", {0});
  reader.Expect(prefix + "expert_used_count", {0});
  reader.Expect(prefix + "use_parallel_residual", {false});
  reader.Expect(prefix + "attention.causal", {true});

  const int64_t layers = reader.Required<int64_t>(prefix + "block_count", kLayerCount);
  spec.layers.assign(static_cast<size_t>(layers), LayerSpec{attention, ffn, PreNormResidual{}, norm});
  reader.IgnorePrefix("general.", "describes the file");
  reader.IgnorePrefix("tokenizer.", "read by the tokenizer");
  reader.IgnorePrefix("quantize.", "how the file was made");
  reader.IgnorePrefix("split.", "how the file was cut");
  return spec;
}

}  // namespace gannet
