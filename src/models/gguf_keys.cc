#include "models/gguf_keys.h"

#include <fmt/format.h>

#include <cmath>

#include "models/expert_keys.h"

namespace gannet {

ModelFrame ReadGgufFrame(const GgufReader& reader) {
  ConfigReader& keys = reader.keys;
  ModelFrame frame;
  ModelSpec& spec = frame.spec;
  spec.hidden = keys.Required<int64_t>(reader.Key("embedding_length"));
  spec.max_positions = keys.Required<int64_t>(reader.Key("context_length"), kTokenCount);
  const std::optional<int64_t> vocab = keys.Find<int64_t>(reader.Key("vocab_size"));
  if (!vocab && reader.source.tokenizer_size == 0) {
    keys.Fail(reader.Key("vocab_size"), "is missing, and so is the tokenizer");
  }
  spec.vocab = vocab.value_or(reader.source.tokenizer_size);
  spec.tied_embeddings = !reader.HasTensor("output.weight", !reader.tied);
  if (spec.tied_embeddings) keys.Notice("no tensor output.weight: the embedding serves as lm_head");
  frame.norm = {keys.Required<double>(reader.Key("attention.layer_norm_rms_epsilon"))};
  spec.final_norm = frame.norm;
  const int64_t blocks = keys.Required<int64_t>(reader.Key("block_count"), kLayerCount);
  frame.draft_count = keys.Optional<int64_t>(reader.Key("nextn_predict_layers"), 0, IntRange{0, blocks - 1});
  frame.layer_count = blocks - frame.draft_count;
  TensorNames::Drafts& names = spec.tensors.drafts;
  for (int64_t i = frame.layer_count; i < blocks; ++i) names.owned.push_back(fmt::format("blk.{}.", i));
  names.copies = {"nextn.embed_tokens.weight", "nextn.shared_head_head.weight"};
  keys.Expect(reader.Key("use_parallel_residual"), {false});
  keys.Expect(reader.Key("attention.causal"), {true});
  keys.IgnorePrefix("general.", "describes the file");
  keys.IgnorePrefix("tokenizer.", "read by the tokenizer");
  keys.IgnorePrefix("quantize.", "how the file was made");
  keys.IgnorePrefix("split.", "how the file was cut");
  return frame;
}

GroupedAttention ReadGgufGrouped(const GgufReader& reader, const ModelFrame& frame, RopePairing pairing) {
  ConfigReader& keys = reader.keys;
  const std::string heads_key = reader.Key("attention.head_count");
  const std::string key_length = reader.Key("attention.key_length");
  const int64_t heads = keys.Required<int64_t>(heads_key);
  const int64_t kv_heads = keys.Optional<int64_t>(reader.Key("attention.head_count_kv"), heads);
  DivideExactly(keys, heads_key, heads, reader.Key("attention.head_count_kv"), kv_heads);
  GroupedAttention attention;
  attention.query_heads = heads;
  attention.kv_heads = kv_heads;
  attention.key_dim = keys.Has(key_length)
                          ? keys.Required<int64_t>(key_length)
                          : DivideExactly(keys, reader.Key("embedding_length"), frame.spec.hidden, heads_key, heads);
  attention.value_dim = keys.Optional<int64_t>(reader.Key("attention.value_length"), attention.key_dim);
  CheckedWidth(keys, heads_key, heads, attention.key_dim);
  CheckedWidth(keys, heads_key, heads, attention.value_dim);
  attention.scale = 1 / std::sqrt(static_cast<double>(attention.key_dim));
  attention.rope =
      ReadGgufRope(keys, reader.source, reader.prefix, attention.key_dim, frame.spec.max_positions, pairing);
  attention.biases = {.q = reader.HasTensor("blk.0.attn_q.bias", reader.biased),
                      .k = reader.HasTensor("blk.0.attn_k.bias", reader.biased),
                      .v = reader.HasTensor("blk.0.attn_v.bias", reader.biased),
                      .o = reader.HasTensor("blk.0.attn_output.bias")};
  return attention;
}

DenseFfn ReadGgufDenseFfn(const GgufReader& reader) {
  DenseFfn ffn;
  ffn.width = reader.keys.Required<int64_t>(reader.Key("feed_forward_length"));
  ffn.biases = reader.HasTensor("blk.0.ffn_gate.bias");
  return ffn;
}

MoeFfn ReadGgufExperts(const GgufReader& reader, RouterSpec::Scoring scoring, ModelFrame& frame) {
  ConfigReader& keys = reader.keys;
  MoeFfn moe;
  RouterSpec& router = moe.router;
  const std::string count = reader.Key("expert_count"), chosen = reader.Key("expert_used_count");
  const std::string width = reader.Key("expert_feed_forward_length");
  const std::string groups = reader.Key("expert_group_count"), chosen_groups = reader.Key("expert_group_used_count");
  router.groups = keys.Optional<int64_t>(groups, 1);
  router.chosen_groups = keys.Optional<int64_t>(chosen_groups, router.groups);
  ReadExperts(keys, {{count}, {chosen}, width, groups, chosen_groups}, moe);
  router.scoring = scoring;
  constexpr int64_t kSoftmax = 1, kSigmoid = 2, kSoftmaxOfChosen = 3;  // gguf.ExpertGatingFuncType
  const std::string gating = reader.Key("expert_gating_func");
  if (const auto function = keys.Find<int64_t>(gating)) {
    if (*function < kSoftmax || *function > kSoftmaxOfChosen) {
      keys.Fail(gating, fmt::format("is {}, but only 1 (softmax), 2 (sigmoid) and 3 (softmax of the chosen) are served",
                                    *function));
    }
    router.scoring = *function == kSoftmax   ? RouterSpec::Scoring::kSoftmax
                     : *function == kSigmoid ? RouterSpec::Scoring::kSigmoid
                                             : RouterSpec::Scoring::kSoftmaxOfChosen;
  }
  router.normalize = keys.Optional<bool>(reader.Key("expert_weights_norm"), false);
  router.scaling = keys.Optional<double>(reader.Key("expert_weights_scale"), 1);
  moe.shared_width = ReadSharedWidth(keys, reader.Key("expert_shared_count"), 0, moe);
  if (moe.shared_width > 0) {
    moe.shared_width = keys.Optional<int64_t>(reader.Key("expert_shared_feed_forward_length"), moe.shared_width);
  }
  frame.spec.tensors.experts = TensorNames::Experts::kStacked;
  return moe;
}

std::vector<Ffn> ReadGgufFfns(const GgufReader& reader, const ModelFrame& frame, const MoeFfn& moe) {
  const int64_t dense_count =
      reader.keys.Optional<int64_t>(reader.Key("leading_dense_block_count"), 0, IntRange{0, kLayerCount.max});
  std::vector<Ffn> ffns(static_cast<size_t>(frame.layer_count), Ffn(moe));
  if (dense_count == 0) {
    reader.keys.Ignore({reader.Key("feed_forward_length")}, "no layer is dense");
    return ffns;
  }
  const DenseFfn dense = ReadGgufDenseFfn(reader);
  for (int64_t layer = 0; layer < std::min(dense_count, frame.layer_count); ++layer) {
    ffns[static_cast<size_t>(layer)] = dense;
  }
  return ffns;
}

ModelSpec ReadGgufDense(const GgufReader& reader, const GgufDenseOptions& options) {
  ModelFrame frame = ReadGgufFrame(reader);
  GroupedAttention attention = ReadGgufGrouped(reader, frame, options.pairing);
  if (options.qk_norm) attention.qk_norm = frame.norm;
  const DenseFfn ffn = ReadGgufDenseFfn(reader);
  reader.keys.Expect(reader.Key("expert_count"), {0});
  reader.keys.Expect(reader.Key("expert_used_count"), {0});
  frame.spec.layers.assign(static_cast<size_t>(frame.layer_count),
                           LayerSpec{attention, ffn, PreNormResidual{}, frame.norm});
  return frame.spec;
}

}  // namespace gannet
