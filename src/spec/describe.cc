#include "spec/describe.h"

#include <fmt/format.h>

#include "spec/visit.h"

namespace gannet {
namespace {

using Parts = std::vector<std::pair<std::string, std::string>>;

std::string Words(const RmsNormSpec& norm) { return fmt::format("rms, epsilon {}", norm.epsilon); }

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

void AddParts(const GroupedAttention& attention, Parts& parts) {
  parts.emplace_back("mixer", fmt::format("grouped attention, {} query heads over {}, key {}, value {}, scale {}",
                                          attention.query_heads, attention.kv_heads, attention.key_dim,
                                          attention.value_dim, attention.scale));
  parts.emplace_back("rope", attention.rope ? Words(*attention.rope) : "none");
  parts.emplace_back("window", attention.window ? fmt::format("{} tokens", *attention.window) : "none");
  parts.emplace_back("qk norm", attention.qk_norm ? Words(*attention.qk_norm) : "none");
  std::string biases;
  if (attention.biases.q) biases += " q";
  if (attention.biases.k) biases += " k";
  if (attention.biases.v) biases += " v";
  if (attention.biases.o) biases += " o";
  parts.emplace_back("biases", biases.empty() ? "none" : biases.substr(1));
}

std::string Words(Activation activation) {
  switch (activation) {
    case Activation::kSilu:
      return "silu";
  }
  return "?";
}

void AddParts(const DenseFfn& ffn, Parts& parts) {
  parts.emplace_back(
      "ffn", fmt::format("dense, width {}, {}{}", ffn.width, Words(ffn.activation), ffn.biases ? ", biases" : ""));
}

}  // namespace

Parts DescribeLayer(const LayerSpec& layer) {
  Parts parts;
  std::visit(Overloaded{[&](const GroupedAttention& mixer) { AddParts(mixer, parts); }}, layer.mixer);
  std::visit(Overloaded{[&](const DenseFfn& ffn) { AddParts(ffn, parts); }}, layer.ffn);
  std::visit(Overloaded{[&](const PreNormResidual&) { parts.emplace_back("residual", "pre-norm"); }}, layer.residual);
  parts.emplace_back("norm", Words(layer.norm));
  return parts;
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
  text += fmt::format("lm head: {}\n", spec.tied_embeddings ? "the embedding" : "its own");
  for (const LayerRun& run : LayerRuns(spec)) {
    text += run.first == run.last ? fmt::format("layer {}\n", run.first)
                                  : fmt::format("layers {}-{}\n", run.first, run.last);
    for (const auto& [part, words] : run.parts) text += fmt::format("  {}: {}\n", part, words);
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
