// Qwen3, dense (arXiv 2505.09388): per-head RMS norm on queries and keys, windows on some layers.
#include <algorithm>

#include "models/common_keys.h"
#include "models/expert_keys.h"
#include "models/gguf_keys.h"
#include "models/grouped_keys.h"
#include "models/registry.h"

namespace gannet {
namespace {

// Every layer alike, with its QK-norm. use_sliding_window turns windows on, for the layers from max_window_layers on
// where nothing else says which (as transformers' Qwen3Config).
GroupedOptions ReadOptions(ConfigReader& reader, const ModelFrame& frame, int64_t head_dim) {
  GroupedOptions options{.full = HfGroupedAttention(reader, reader.Required<int64_t>("num_attention_heads"),
                                                    reader.Required<int64_t>("num_key_value_heads"), head_dim),
                         .rope = HfRopeOptions{}};
  options.full.qk_norm = frame.norm;
  const bool biased = reader.Optional<bool>("attention_bias", false);
  options.full.biases = {.q = biased, .k = biased, .v = biased, .o = biased};
  if (!reader.Has("use_sliding_window") && !reader.Has("max_window_layers")) return options;
  const bool slides = reader.Optional<bool>("use_sliding_window", false) && reader.Has("sliding_window");
  const int64_t first = reader.Optional<int64_t>("max_window_layers", 28, IntRange{0, 1 << 20});
  options.slides.emplace();
  for (int64_t layer = 0; layer < frame.layer_count; ++layer) options.slides->push_back(slides && layer >= first);
  return options;
}

ModelSpec ResolveQwen3(const ModelSource& source, ConfigReader& reader) {
  ModelFrame frame = ReadHfFrame(reader, "qwen3");
  const GroupedOptions options = ReadOptions(reader, frame, reader.Required<int64_t>("head_dim"));
  const DenseFfn ffn = ReadHfDenseFfn(reader, false);
  AddLayers(frame, ReadGroupedLayers(reader, source, frame, options), ffn);
  return frame.spec;
}

// Qwen3 with experts: a softmax router without corrections or shared experts.
ModelSpec ResolveQwen3Moe(const ModelSource& source, ConfigReader& reader) {
  ModelFrame frame = ReadHfFrame(reader, "qwen3_moe");
  const int64_t heads = reader.Required<int64_t>("num_attention_heads");
  const GroupedOptions options = ReadOptions(reader, frame, HfHeadDim(reader, frame.spec.hidden, heads));
  const DenseFfn dense = ReadHfDenseFfn(reader, false);
  MoeFfn moe;
  ReadExperts(reader, {.count = {"num_experts", "num_local_experts"}}, moe);
  moe.router.scoring = RouterSpec::Scoring::kSoftmax;
  moe.router.normalize = reader.Optional<bool>("norm_topk_prob", false);
  const int64_t step = reader.Optional<int64_t>("decoder_sparse_step", 1);
  const auto dense_layers = reader.Find<std::vector<int64_t>>("mlp_only_layers", IntRange{0, 10000});
  std::vector<Ffn> ffns;
  for (int64_t layer = 0; layer < frame.layer_count; ++layer) {
    const bool named = dense_layers && std::ranges::find(*dense_layers, layer) != dense_layers->end();
    const bool sparse = !named && (layer + 1) % step == 0;
    ffns.push_back(sparse ? Ffn(moe) : Ffn(dense));
  }
  AddLayers(frame, ReadGroupedLayers(reader, source, frame, options), ffns);
  IgnoreExpertHousekeeping(reader);
  return frame.spec;
}

ModelSpec ResolveQwen3Gguf(const ModelSource& source, ConfigReader& reader) {
  return ReadGgufDense({reader, source, "qwen3."}, {.qk_norm = true});
}

ModelSpec ResolveQwen3MoeGguf(const ModelSource& source, ConfigReader& keys) {
  const GgufReader reader{keys, source, "qwen3moe.", /*tied=*/false};
  ModelFrame frame = ReadGgufFrame(reader);
  GroupedAttention attention = ReadGgufGrouped(reader, frame, RopePairing::kHalves);
  attention.qk_norm = frame.norm;
  MoeFfn moe = ReadGgufExperts(reader, RouterSpec::Scoring::kSoftmax, frame);
  moe.router.normalize = true;  // what llama.cpp does, whatever the file says
  AddLayers(frame, attention, ReadGgufFfns(reader, frame, moe));
  return frame.spec;
}

const RegisterArchitectures kRegistered{{Dialect::kHuggingFace, "Qwen3ForCausalLM", ResolveQwen3},
                                        {Dialect::kHuggingFace, "Qwen3MoeForCausalLM", ResolveQwen3Moe},
                                        {Dialect::kGguf, "qwen3", ResolveQwen3Gguf},
                                        {Dialect::kGguf, "qwen3moe", ResolveQwen3MoeGguf}};

}  // namespace
}  // namespace gannet
