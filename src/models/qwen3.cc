// Qwen3, dense (arXiv 2505.09388): per-head RMS norm on queries and keys, windows on some layers.
#include <fmt/format.h>

#include <algorithm>

#include "models/architectures.h"
#include "models/common_keys.h"
#include "models/expert_keys.h"
#include "models/rope.h"

namespace gannet {
namespace {

// The window of every layer, as transformers' Qwen3Config computes it: layer_types when given, else the layers from
// max_window_layers on slide; use_sliding_window turns all of it on.
std::vector<std::optional<int64_t>> Windows(ConfigReader& reader, int64_t layers) {
  const bool slides = reader.Optional<bool>("use_sliding_window", false);
  std::optional<int64_t> window = reader.Find<int64_t>("sliding_window", kTokenCount);
  const int64_t max_window_layers = reader.Optional<int64_t>("max_window_layers", 28, IntRange{0, 1 << 20});
  const auto types = reader.Find<std::vector<std::string>>("layer_types");
  if (!slides) window.reset();

  std::vector<std::optional<int64_t>> windows(static_cast<size_t>(layers));
  if (!types) {
    for (int64_t layer = max_window_layers; layer < layers; ++layer) windows[static_cast<size_t>(layer)] = window;
    return windows;
  }
  if (types->size() != windows.size()) {
    reader.Fail("layer_types", fmt::format("has {} entries for {} layers", types->size(), layers));
  }
  for (size_t layer = 0; layer < windows.size(); ++layer) {
    const std::string& type = (*types)[layer];
    if (type == "sliding_attention") {
      if (!window) {
        reader.Fail("layer_types", fmt::format("makes layer {} slide, but {}", layer,
                                               slides ? "sliding_window is absent" : "use_sliding_window is not true"));
      }
      windows[layer] = window;
    } else if (type != "full_attention") {
      reader.Fail("layer_types", fmt::format("calls layer {} \"{}\", but only full_attention and sliding_attention are "
                                             "served",
                                             layer, type));
    }
  }
  return windows;
}

}  // namespace

ModelSpec ResolveQwen3(const ModelSource&, ConfigReader& reader) {
  ModelFrame frame = ReadHfFrame(reader, "qwen3");
  const int64_t head_dim = reader.Required<int64_t>("head_dim");
  GroupedAttention attention = HfGroupedAttention(reader, reader.Required<int64_t>("num_attention_heads"),
                                                  reader.Required<int64_t>("num_key_value_heads"), head_dim);
  attention.rope = ReadHfRope(reader, head_dim, frame.spec.max_positions, {});
  attention.qk_norm = frame.norm;
  const bool biased = reader.Optional<bool>("attention_bias", false);
  attention.biases = {.q = biased, .k = biased, .v = biased, .o = biased};
  const DenseFfn ffn = ReadHfDenseFfn(reader, false);
  for (const std::optional<int64_t>& window : Windows(reader, frame.layer_count)) {
    attention.window = window;
    frame.spec.layers.push_back(LayerSpec{attention, ffn, PreNormResidual{}, frame.norm});
  }
  return frame.spec;
}

// Qwen3 with experts: a softmax router without corrections or shared experts.
ModelSpec ResolveQwen3Moe(const ModelSource&, ConfigReader& reader) {
  ModelFrame frame = ReadHfFrame(reader, "qwen3_moe");
  const int64_t heads = reader.Required<int64_t>("num_attention_heads");
  const int64_t head_dim = HfHeadDim(reader, frame.spec.hidden, heads);
  GroupedAttention attention =
      HfGroupedAttention(reader, heads, reader.Required<int64_t>("num_key_value_heads"), head_dim);
  attention.rope = ReadHfRope(reader, head_dim, frame.spec.max_positions, {});
  attention.qk_norm = frame.norm;
  const bool biased = reader.Optional<bool>("attention_bias", false);
  attention.biases = {.q = biased, .k = biased, .v = biased, .o = biased};
  const DenseFfn dense = ReadHfDenseFfn(reader, false);
  MoeFfn moe;
  ReadExperts(reader, {"num_experts", "num_local_experts"}, moe);
  moe.router.scoring = RouterSpec::Scoring::kSoftmax;
  moe.router.normalize = reader.Optional<bool>("norm_topk_prob", false);
  const int64_t step = reader.Optional<int64_t>("decoder_sparse_step", 1);
  const auto dense_layers = reader.Find<std::vector<int64_t>>("mlp_only_layers", IntRange{0, 10000});
  const std::vector<std::optional<int64_t>> windows = Windows(reader, frame.layer_count);
  for (int64_t layer = 0; layer < frame.layer_count; ++layer) {
    attention.window = windows[static_cast<size_t>(layer)];
    const bool named = dense_layers && std::ranges::find(*dense_layers, layer) != dense_layers->end();
    const bool sparse = !named && (layer + 1) % step == 0;
    frame.spec.layers.push_back({attention, sparse ? Ffn(moe) : Ffn(dense), PreNormResidual{}, frame.norm});
  }
  IgnoreExpertHousekeeping(reader);
  return frame.spec;
}

ModelSpec ResolveQwen3Gguf(const ModelSource& source, ConfigReader& reader) {
  return ReadGgufDense(reader, source, "qwen3.", {.pairing = RopePairing::kHalves, .qk_norm = true});
}

}  // namespace gannet
