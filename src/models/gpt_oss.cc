// gpt-oss (arXiv 2508.10925): sinks, windows on every other layer, clamped SwiGLU, experts chosen before the softmax.
#include "models/common_keys.h"
#include "models/expert_keys.h"
#include "models/gguf_keys.h"
#include "models/grouped_keys.h"
#include "models/registry.h"

namespace gannet {
namespace {

constexpr ActivationSpec kActivation{.kind = Activation::kClampedSwiglu, .limit = 7, .alpha = 1.702};

MoeFfn ReadFfn(ConfigReader& reader) {
  MoeFfn moe;
  ReadExperts(reader,
              {.count = {"num_local_experts", "num_experts"},
               .chosen = {"num_experts_per_tok", "experts_per_token"},
               .width = "intermediate_size"},
              moe);
  moe.router.scoring = RouterSpec::Scoring::kSoftmaxOfChosen;
  moe.router.bias = true;
  moe.router.normalize = false;
  moe.activation = kActivation;
  moe.activation.limit = reader.Optional<double>("swiglu_limit", kActivation.limit);
  moe.activation.alpha = FindAlias<double>(reader, {"swiglu_alpha", "hidden_act_alpha"}).value_or(kActivation.alpha);
  moe.expert_biases = true;
  reader.Expect("hidden_act", {"silu"});
  return moe;
}

ModelSpec ResolveGptOss(const ModelSource& source, ConfigReader& reader) {
  ModelFrame frame = ReadHfFrame(reader, "gpt_oss");
  const int64_t heads = reader.Required<int64_t>("num_attention_heads");
  GroupedOptions options{.full = HfGroupedAttention(reader, heads, reader.Required<int64_t>("num_key_value_heads"),
                                                    HfHeadDim(reader, frame.spec.hidden, heads)),
                         .rope = HfRopeOptions{.default_theta = 150000}};
  const bool biased = reader.Optional<bool>("attention_bias", true);
  options.full.biases = {.q = biased, .k = biased, .v = biased, .o = biased};
  options.full.sinks = true;
  if (!reader.Has("rope_scaling") && !reader.Has("rope_parameters")) reader.Fail("rope_parameters", "is missing");
  options.slides.emplace();
  for (int64_t layer = 0; layer < frame.layer_count; ++layer) options.slides->push_back(layer % 2 == 0);

  const MoeFfn ffn = ReadFfn(reader);
  AddLayers(frame, ReadGroupedLayers(reader, source, frame, options), ffn);
  frame.spec.tensors.experts = TensorNames::Experts::kStackedInterleaved;
  frame.spec.tensors.names.insert({{Slot::kRouter, "mlp.router.weight"},
                                   {Slot::kRouterBias, "mlp.router.bias"},
                                   {Slot::kExpertGate, "mlp.experts.gate_up_proj"},
                                   {Slot::kExpertUp, "mlp.experts.gate_up_proj"},
                                   {Slot::kExpertDown, "mlp.experts.down_proj"},
                                   {Slot::kExpertGateBias, "mlp.experts.gate_up_proj_bias"},
                                   {Slot::kExpertUpBias, "mlp.experts.gate_up_proj_bias"},
                                   {Slot::kExpertDownBias, "mlp.experts.down_proj_bias"}});
  reader.Ignore({"initial_context_length"}, "the rope object says it");
  IgnoreExpertHousekeeping(reader);
  return frame.spec;
}

// Windows on even layers; the clamp of the experts is not in the metadata.
ModelSpec ResolveGptOssGguf(const ModelSource& source, ConfigReader& keys) {
  const GgufReader reader{keys, source, "gpt-oss.", /*tied=*/false, /*biased=*/true};
  ModelFrame frame = ReadGgufFrame(reader);
  GroupedAttention attention = ReadGgufGrouped(reader, frame, RopePairing::kHalves);
  attention.sinks = attention.biases.o = true;
  if (auto* yarn = std::get_if<RopeYarn>(&attention.rope->scaling)) yarn->truncate = false;
  const int64_t window = keys.Required<int64_t>(reader.Key("attention.sliding_window"), kTokenCount);
  std::vector<GroupedAttention> layers(static_cast<size_t>(frame.layer_count), attention);
  for (size_t layer = 0; layer < layers.size(); layer += 2) layers[layer].window = window;
  MoeFfn moe = ReadGgufExperts(reader, RouterSpec::Scoring::kSoftmaxOfChosen, frame);
  moe.router.bias = moe.expert_biases = true;
  moe.activation = kActivation;
  frame.spec.tensors.names[Slot::kFfnNorm] = "post_attention_norm.weight";
  AddLayers(frame, layers, ReadGgufFfns(reader, frame, moe));
  return frame.spec;
}

const RegisterArchitectures kRegistered{{Dialect::kHuggingFace, "GptOssForCausalLM", ResolveGptOss},
                                        {Dialect::kGguf, "gpt-oss", ResolveGptOssGguf}};

}  // namespace
}  // namespace gannet
