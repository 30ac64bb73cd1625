#include "spec/describe.h"

#include <fmt/format.h>

#include "spec/visit.h"

namespace gannet {
namespace {

using Parts = std::vector<std::pair<std::string, std::string>>;

std::string Words(const RmsNormSpec& norm) {
  return fmt::format("rms, epsilon {}{}", norm.epsilon, norm.unit_offset ? ", weight + 1" : "");
}

std::string Words(const RopeScaling& scaling) {
  return std::visit(Overloaded{
                        [](const std::monostate&) { return std::string("no scaling"); },
                        [](const RopeLinear& s) { return fmt::format("linear, factor {}", s.factor); },
                        [](const RopeLlama3& s) {
                          return fmt::format("llama3, factor {}, low {}, high {}, original {}", s.factor,
                                             s.low_freq_factor, s.high_freq_factor, s.original_positions);
                        },
                        [](const RopeYarn& s) {
                          return fmt::format(
                              "yarn, factor {}, original {}, beta {} to {}, {} corners, cos and sin x {}", s.factor,
                              s.original_positions, s.beta_fast, s.beta_slow, s.truncate ? "whole" : "broken",
                              s.attention_factor);
                        },
                        [](const RopeDivisors& s) { return fmt::format("divisors of tensor {}", s.tensor); },
                    },
                    scaling);
}

std::string Words(const RopeSpec& rope) {
  return fmt::format("dims {}-{}, theta {}, {}, {}", rope.offset, rope.offset + rope.dims - 1, rope.theta,
                     rope.pairing == RopePairing::kHalves ? "halves" : "interleaved", Words(rope.scaling));
}

std::string_view Words(Activation activation) {
  switch (activation) {
    case Activation::kSilu:
      return "silu";
    case Activation::kClampedSilu:
      return "clamped silu";
    case Activation::kClampedSwiglu:
      return "clamped swiglu";
    case Activation::kSigmoid:
      return "sigmoid";
    case Activation::kScaledSoftsign:
      return "scaled softsign";
    case Activation::kShiftedSoftsign:
      return "shifted softsign";
  }
  return "?";
}

std::string Words(const ActivationSpec& activation) {
  std::string text(Words(activation.kind));
  if (activation.limit != 0) text += fmt::format(", limit {}", activation.limit);
  if (activation.alpha != 0) text += fmt::format(", alpha {}", activation.alpha);
  return text;
}

std::string Words(const std::optional<AttentionGate>& gate) {
  if (!gate) return "none";
  return fmt::format("{} of every {}{}", Words(gate->activation),
                     gate->per == AttentionGate::Per::kElement ? "element" : "head", gate->bias ? ", bias" : "");
}

// The names whose flags are set, with spaces between.
std::string Chosen(std::initializer_list<std::pair<bool, std::string_view>> flags) {
  std::string text;
  for (const auto& [set, name] : flags) {
    if (set) text += fmt::format("{}{}", text.empty() ? "" : " ", name);
  }
  return text.empty() ? "none" : text;
}

void AddParts(const GroupedAttention& attention, Parts& parts) {
  parts.emplace_back("mixer", fmt::format("grouped attention, {} query heads over {}, key {}, value {}, scale {}",
                                          attention.query_heads, attention.kv_heads, attention.key_dim,
                                          attention.value_dim, attention.scale));
  parts.emplace_back("rope", attention.rope ? Words(*attention.rope) : "none");
  parts.emplace_back("window", attention.window ? fmt::format("{} tokens", *attention.window) : "none");
  parts.emplace_back("qk norm", attention.qk_norm ? Words(*attention.qk_norm) : "none");
  const AttentionBiases& biases = attention.biases;
  parts.emplace_back("biases", Chosen({{biases.q, "q"}, {biases.k, "k"}, {biases.v, "v"}, {biases.o, "o"}}));
  if (attention.sinks) parts.emplace_back("sinks", "one logit per query head");
  if (attention.value_scale != 1) parts.emplace_back("value scale", fmt::format("{}", attention.value_scale));
  if (attention.gate) parts.emplace_back("gate", Words(attention.gate));
}

void AddParts(const LatentAttention& attention, Parts& parts) {
  parts.emplace_back(
      "mixer",
      fmt::format("latent attention, {} heads, query rank {}, latent {}, key {} + {} rotated, value {}, scale {}",
                  attention.heads,
                  attention.query_rank ? fmt::format("{}", *attention.query_rank) : std::string("none"),
                  attention.latent_rank, attention.nope_dim, attention.rope_dim, attention.value_dim, attention.scale));
  parts.emplace_back("rope", Words(attention.rope));
  parts.emplace_back("latent norm", Words(attention.latent_norm));
  const LatentBiases& biases = attention.biases;
  parts.emplace_back("biases", Chosen({{biases.q_a, "q_a"}, {biases.kv_a, "kv_a"}, {biases.o, "o"}}));
  if (attention.gate) parts.emplace_back("gate", Words(attention.gate));
  if (!attention.sparse) return;
  const SparseKeys& sparse = *attention.sparse;
  parts.emplace_back("sparse", fmt::format("the best {} keys{}", sparse.top_k,
                                           sparse.indexer ? "" : ", as the nearest indexer before chose"));
  if (!sparse.indexer) return;
  parts.emplace_back("indexer", fmt::format("{} heads of {}, layer norm of keys epsilon {}", sparse.indexer->heads,
                                            sparse.indexer->dim, sparse.indexer->key_norm.epsilon));
  parts.emplace_back("index rope", Words(sparse.indexer->rope));
}

void AddParts(const DenseFfn& ffn, Parts& parts) {
  parts.emplace_back(
      "ffn", fmt::format("dense, width {}, {}{}", ffn.width, Words(ffn.activation), ffn.biases ? ", biases" : ""));
}

void AddParts(const MoeFfn& ffn, Parts& parts) {
  const RouterSpec& router = ffn.router;
  parts.emplace_back("ffn", fmt::format("experts, {} of {}, width {}, {}{}", router.chosen, router.experts,
                                        ffn.expert_width, Words(ffn.activation), ffn.expert_biases ? ", biases" : ""));
  const std::string_view scoring = router.scoring == RouterSpec::Scoring::kSigmoid   ? "sigmoid"
                                   : router.scoring == RouterSpec::Scoring::kSoftmax ? "softmax"
                                                                                     : "softmax of the chosen";
  std::string text(scoring);
  if (router.bias) text += ", bias";
  if (router.correction_bias) text += ", correction bias";
  if (router.groups > 1) text += fmt::format(", best {} of {} groups", router.chosen_groups, router.groups);
  if (router.normalize) text += fmt::format(", normalized by at least {}", router.min_sum);
  if (router.scaling != 1) text += fmt::format(", times {}", router.scaling);
  parts.emplace_back("router", text);
  parts.emplace_back("shared expert", ffn.shared_width > 0 ? fmt::format("width {}, {}{}", ffn.shared_width,
                                                                         Words(ffn.shared_activation),
                                                                         ffn.shared_biases ? ", biases" : "")
                                                           : "none");
}

}  // namespace

Parts DescribeLayer(const LayerSpec& layer) {
  Parts parts;
  std::visit([&](const auto& mixer) { AddParts(mixer, parts); }, layer.mixer);
  std::visit([&](const auto& ffn) { AddParts(ffn, parts); }, layer.ffn);
  std::visit(Overloaded{[&](const PreNormResidual&) { parts.emplace_back("residual", "pre-norm"); }}, layer.residual);
  parts.emplace_back("norm", Words(layer.norm));
  return parts;
}

Parts DescribeDraft(const DraftHead& head) {
  Parts parts;
  parts.emplace_back("input",
                     fmt::format("embedding{}, hidden state {} the final norm of {}",
                                 head.skips_first ? " (zero at position 0)" : "", head.normed ? "after" : "before",
                                 head.chained ? "the head before it, the first of the model" : "the model"));
  parts.emplace_back("output", fmt::format("{}, {}", head.norms_output ? "normed" : "not normed",
                                           head.own_lm_head ? "its own lm head" : "the model's lm head"));
  parts.emplace_back("draft norm", Words(head.norm));
  for (auto& part : DescribeLayer(head.layer)) parts.push_back(std::move(part));
  return parts;
}

ModelSpec WithoutDrafts(ModelSpec spec) {
  spec.drafts.clear();
  return spec;
}

std::vector<LayerRun> LayerRuns(const ModelSpec& spec) {
  std::vector<LayerRun> runs;
  for (int layer = 0; layer < static_cast<int>(spec.layers.size()); ++layer) {
    Parts parts = DescribeLayer(spec.layers[static_cast<size_t>(layer)]);
    if (runs.empty() || runs.back().parts != parts) runs.push_back({layer, layer, std::move(parts)});
    runs.back().last = layer;
  }
  return runs;
}

std::string Describe(const ModelSpec& spec) {
  std::string text = fmt::format("hidden {}, vocab {}, layers {}, max positions {}\n", spec.hidden, spec.vocab,
                                 spec.layers.size(), spec.max_positions);
  text += fmt::format("final norm: {}\n", Words(spec.final_norm));
  text += fmt::format("lm head: {}{}\n", spec.tied_embeddings ? "the embedding" : "its own",
                      spec.lm_head_bias ? ", with a bias" : "");
  for (const LayerRun& run : LayerRuns(spec)) {
    text += run.first == run.last ? fmt::format("layer {}\n", run.first)
                                  : fmt::format("layers {}-{}\n", run.first, run.last);
    for (const auto& [part, words] : run.parts) text += fmt::format("  {}: {}\n", part, words);
  }
  for (size_t i = 0; i < spec.drafts.size(); ++i) {
    const Parts parts = DescribeDraft(spec.drafts[i]);
    if (i > 0 && parts == DescribeDraft(spec.drafts[i - 1])) {
      text += fmt::format("draft head {}: as the one before\n", i);
      continue;
    }
    text += fmt::format("draft head {} (MTP)\n", i);
    for (const auto& [part, words] : parts) text += fmt::format("  {}: {}\n", part, words);
  }
  return text;
}

std::string DescribeIndices(const std::vector<int>& indices) {
  std::string text;
  for (size_t i = 0; i < indices.size();) {
    size_t end = i + 1;
    while (end < indices.size() && indices[end] == indices[end - 1] + 1) ++end;
    if (!text.empty()) text += ", ";
    text += end - i == 1 ? fmt::format("{}", indices[i]) : fmt::format("{}-{}", indices[i], indices[end - 1]);
    i = end;
  }
  return text;
}

}  // namespace gannet
