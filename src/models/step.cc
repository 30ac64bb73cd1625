// Step-3.5-Flash and the text part of Step-3.7 (arXiv 2602.10604): a gate for every head, more query heads and another
// RoPE on window layers, activations clamped on some layers.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "models/common_keys.h"
#include "models/expert_keys.h"
#include "models/grouped_keys.h"
#include "models/registry.h"

namespace gannet {
namespace {

// Attention of layers without a window, and how it differs on those with one.
GroupedOptions ReadAttention(ConfigReader& reader, const ModelFrame& frame) {
  const int64_t heads = reader.Required<int64_t>("num_attention_heads");
  const int64_t kv_heads = RequiredAlias<int64_t>(reader, {"num_attention_groups", "num_key_value_heads"});
  const int64_t head_dim = HfHeadDim(reader, frame.spec.hidden, heads);
  GroupedOptions options{.full = HfGroupedAttention(reader, heads, kv_heads, head_dim)};
  GroupedAttention& full = options.full;
  full.scale = 1 / std::sqrt(reader.Optional<double>("query_pre_attn_scalar", static_cast<double>(head_dim)));
  full.qk_norm = frame.norm;
  const bool biased = reader.Optional<bool>("attention_bias", false);
  full.biases = {.q = biased, .k = biased, .v = biased, .o = biased};
  if (reader.Optional<bool>("use_head_wise_attn_gate", true)) {
    full.gate = AttentionGate{.per = AttentionGate::Per::kHead, .activation = Activation::kSigmoid};
  }

  int64_t sliding_heads = reader.Optional<int64_t>("num_sliding_attention_heads", heads);
  options.sliding = full;
  if (ConfigReader* other = reader.Nested("attention_other_setting")) {
    other->Expect("attention_type", {"sliding_attention"});
    sliding_heads = other->Optional<int64_t>("num_attention_heads", sliding_heads);
    options.sliding->kv_heads = other->Optional<int64_t>("num_attention_groups", kv_heads);
    options.sliding->key_dim = options.sliding->value_dim = other->Optional<int64_t>("head_dim", head_dim);
    other->Ignore({"true_head_dim"}, "head_dim says it");
  }
  options.sliding->query_heads = sliding_heads;
  CheckedWidth(reader, "num_sliding_attention_heads", sliding_heads, options.sliding->key_dim);
  DivideExactly(reader, "num_sliding_attention_heads", sliding_heads, "num_attention_groups",
                options.sliding->kv_heads);
  return options;
}

// transformers writes the window layers' heads once more, layer by layer.
void CheckLayerConfigs(ConfigReader& reader, const std::vector<GroupedAttention>& attention) {
  ConfigReader* layers = reader.Nested("per_layer_config");
  for (size_t layer = 0; layers && layer < attention.size(); ++layer) {
    if (ConfigReader* own = layers->Nested(std::to_string(layer))) {
      own->Expect("num_attention_heads", {attention[layer].query_heads});
    }
  }
}

// `theta` 0: as the configuration says. rope_scaling is for the layer types of yarn_only_types.
RopeSpec ReadRope(ConfigReader& reader, const ModelFrame& frame, const GroupedAttention& attention, double theta,
                  double partial) {
  HfRopeOptions options{.partial = true, .default_partial = partial};
  options.layer_type = attention.window ? "sliding_attention" : "full_attention";
  if (theta > 0) options.theta = theta;
  const auto scaled_types = reader.Find<std::vector<std::string>>("yarn_only_types");
  options.scaled =
      scaled_types ? std::ranges::count(*scaled_types, options.layer_type) > 0 : options.layer_type == "full_attention";
  return ReadHfRope(reader, attention.key_dim, frame.spec.max_positions, options);
}

// Layers that share a type may have bases and rotated shares of their own: rope_theta and partial_rotary_factors are
// lists.
void ReadRopes(ConfigReader& reader, const ModelFrame& frame, std::vector<GroupedAttention>& attention) {
  const auto numbers = [&](std::string_view key) {
    std::vector<double> list;
    if (reader.IsList(key)) list = ForEachLayer(reader, key, *reader.Find<std::vector<double>>(key), frame);
    return list;
  };
  const std::vector<double> thetas = numbers("rope_theta");
  const std::vector<double> partials = numbers("partial_rotary_factors");
  for (size_t layer = 0; layer < attention.size(); ++layer) {
    const double theta = thetas.empty() ? 0 : thetas[layer];
    attention[layer].rope = ReadRope(reader, frame, attention[layer], theta, partials.empty() ? 1 : partials[layer]);
  }
}

// Which layers have experts: mlp_layer_types, or moe_layers_enum (numbers in a list, or in a string with commas), or
// all from the fourth on.
std::vector<bool> ExpertLayers(ConfigReader& reader, const ModelFrame& frame) {
  std::vector<bool> sparse(static_cast<size_t>(frame.layer_count));
  for (size_t layer = 3; layer < sparse.size(); ++layer) sparse[layer] = true;
  const std::string_view key = "moe_layers_enum";
  std::optional<std::vector<int64_t>> layers;
  if (reader.IsList(key)) {
    layers = reader.Find<std::vector<int64_t>>(key, IntRange{0, kLayerCount.max});
  } else if (const auto text = reader.Find<std::string>(key)) {
    layers.emplace();
    for (size_t begin = 0; begin < text->size();) {
      const size_t comma = std::min(text->find(',', begin), text->size());
      int64_t layer = -1;
      const char* first = text->data() + std::min(text->find_first_not_of(' ', begin), comma);
      const auto [end, error] = std::from_chars(first, text->data() + comma, layer);
      if (error != std::errc() || end != text->data() + comma || layer < 0) {
        reader.Fail(key, fmt::format("must be numbers of layers between commas, not \"{}\"", *text));
      }
      layers->push_back(layer);
      begin = comma + 1;
    }
  }
  if (layers) {
    sparse.assign(sparse.size(), false);
    for (const int64_t layer : *layers) {
      if (layer < frame.layer_count) sparse[static_cast<size_t>(layer)] = true;
    }
  }
  return ReadMlpLayerTypes(reader, frame, std::move(sparse), key);
}

struct FfnKinds {
  std::vector<Ffn> layers;
  DenseFfn dense;  // not clamped
};

ActivationSpec Clamped(double limit) {
  return limit > 0 ? ActivationSpec{.kind = Activation::kClampedSilu, .limit = limit} : ActivationSpec{};
}

FfnKinds ReadFfns(ConfigReader& reader, const ModelFrame& frame) {
  DenseFfn dense = ReadHfDenseFfn(reader, reader.Optional<bool>("mlp_bias", false));
  MoeFfn moe;
  ReadExperts(reader,
              {.count = {"moe_num_experts", "n_routed_experts", "num_local_experts"},
               .chosen = {"moe_top_k", "num_experts_per_tok"}},
              moe);
  reader.Expect("moe_router_activation", {"sigmoid"});
  moe.router.scoring = RouterSpec::Scoring::kSigmoid;
  moe.router.correction_bias = reader.Optional<bool>("use_moe_router_bias", true);
  moe.router.normalize = reader.Optional<bool>("norm_expert_weight", true);
  moe.router.scaling = reader.Optional<double>("moe_router_scaling_factor", 1);
  moe.shared_width = RequiredAlias<int64_t>(reader, {"share_expert_dim", "share_expert_dims"});
  moe.shared_biases = dense.biases;

  const auto limits = [&](std::string_view key) {
    auto list = reader.Find<std::vector<double>>(key);
    return list ? ForEachLayer(reader, key, *std::move(list), frame)
                : std::vector<double>(static_cast<size_t>(frame.layer_count));
  };
  const std::vector<double> expert_limits = limits("swiglu_limits");
  const std::vector<double> dense_limits = limits("swiglu_limits_shared");
  const std::vector<bool> sparse = ExpertLayers(reader, frame);
  FfnKinds ffns{{}, dense};
  for (size_t layer = 0; layer < sparse.size(); ++layer) {
    moe.activation = Clamped(expert_limits[layer]);
    dense.activation = moe.shared_activation = Clamped(dense_limits[layer]);
    ffns.layers.push_back(sparse[layer] ? Ffn(moe) : Ffn(dense));
  }
  return ffns;
}

// Entry of draft head `head` in a list that goes on over the heads behind the layers, or in a list of their own.
template <typename T>
T OfHead(ConfigReader& reader, const ModelFrame& frame, std::string_view key, std::string_view own, size_t head,
         T otherwise) {
  if (!own.empty()) {
    const auto list = reader.Find<std::vector<T>>(own);
    if (list && list->size() != static_cast<size_t>(frame.draft_count)) {
      reader.Fail(own, fmt::format("has {} entries for {} draft heads", list->size(), frame.draft_count));
    }
    if (list) return (*list)[head];
  }
  if (!reader.IsList(key)) return otherwise;
  const auto list = reader.Find<std::vector<T>>(key);
  const size_t index = static_cast<size_t>(frame.layer_count) + head;
  return index < list->size() ? (*list)[index] : otherwise;
}

// Dense unless a list says otherwise, with the attention of the layers of their type; each takes what the one before it
// makes, before any norm, and has an lm_head of its own.
void AddStepDrafts(ConfigReader& reader, const FfnKinds& kinds, ModelFrame& frame) {
  const std::string full = "full_attention";
  for (size_t i = 0; i < static_cast<size_t>(frame.draft_count); ++i) {
    const bool slides = OfHead(reader, frame, "layer_types", "mtp_layer_types", i, full) != full;
    const auto like = std::ranges::find_if(frame.spec.layers, [&](const LayerSpec& layer) {
      return std::get<GroupedAttention>(layer.mixer).window.has_value() == slides;
    });
    if (like == frame.spec.layers.end()) {
      reader.Fail("layer_types", fmt::format("gives draft head {} a type that no layer has", i));
    }
    GroupedAttention attention = std::get<GroupedAttention>(like->mixer);
    const RopeSpec like_rope = attention.rope.value_or(RopeSpec{});
    const double theta = OfHead(reader, frame, "rope_theta", "", i, like_rope.theta);
    const double same = static_cast<double>(like_rope.dims) / static_cast<double>(attention.key_dim);
    attention.rope =
        ReadRope(reader, frame, attention, theta, OfHead(reader, frame, "partial_rotary_factors", "", i, same));
    const bool sparse =
        OfHead<std::string>(reader, frame, "mlp_layer_types", "mtp_mlp_layer_types", i, "dense") != "dense";
    if (sparse) reader.Fail("mlp_layer_types", fmt::format("gives draft head {} experts, which is not served", i));
    DenseFfn dense = kinds.dense;
    dense.activation = Clamped(OfHead(reader, frame, "swiglu_limits_shared", "", i, 0.0));
    frame.spec.drafts.push_back({.layer = {attention, dense, PreNormResidual{}, frame.norm},
                                 .norm = frame.norm,
                                 .normed = false,
                                 .own_lm_head = true});
  }
  TensorNames::Drafts& names = frame.spec.tensors.drafts;
  names.names = {{Slot::kDraftNorm, "transformer.shared_head.norm.weight"},
                 {Slot::kDraftLmHead, "transformer.shared_head.output.weight"}};
  names.copies = {"embed_tokens.weight", "transformer.embed_tokens.weight"};
}

void NameTensors(TensorNames& tensors) {
  tensors.experts = TensorNames::Experts::kStacked;
  tensors.names.insert({{Slot::kGate, "self_attn.g_proj.weight"},
                        {Slot::kRouter, "moe.gate.weight"},
                        {Slot::kRouterCorrection, "moe.router_bias"},
                        {Slot::kExpertGate, "moe.gate_proj.weight"},
                        {Slot::kExpertUp, "moe.up_proj.weight"},
                        {Slot::kExpertDown, "moe.down_proj.weight"},
                        {Slot::kSharedGate, "share_expert.gate_proj.weight"},
                        {Slot::kSharedUp, "share_expert.up_proj.weight"},
                        {Slot::kSharedDown, "share_expert.down_proj.weight"},
                        {Slot::kSharedGateBias, "share_expert.gate_proj.bias"},
                        {Slot::kSharedUpBias, "share_expert.up_proj.bias"},
                        {Slot::kSharedDownBias, "share_expert.down_proj.bias"}});
}

ModelSpec ResolveStep3p5(const ModelSource& source, ConfigReader& reader) {
  ModelFrame frame = ReadHfFrame(reader, "step3p5");
  reader.Expect("zero_centered", {true});
  frame.norm.unit_offset = frame.spec.final_norm.unit_offset = true;
  ReadDraftCount(reader, frame);
  std::vector<GroupedAttention> attention = ReadGroupedLayers(reader, source, frame, ReadAttention(reader, frame));
  CheckLayerConfigs(reader, attention);
  ReadRopes(reader, frame, attention);
  const FfnKinds ffns = ReadFfns(reader, frame);
  AddLayers(frame, attention, ffns.layers);
  AddStepDrafts(reader, ffns, frame);
  NameTensors(frame.spec.tensors);
  reader.Expect("att_impl_type", {"GQA"});
  reader.Expect("use_mfa", {false});
  reader.Expect("use_moe", {true});
  reader.Expect("use_qk_norm", {true});
  reader.Expect("sink", {false});
  reader.Expect("use_bidirectional_attention", {false});
  reader.Expect("moe_dynamic_exp_p", {1});
  reader.Expect("moe_every_n_layer", {1});
  if (reader.IsList("use_rope_layers")) reader.Expect("use_rope_layers", {Json(Json::Array{})});
  reader.Ignore({"need_fp32_gate"}, "routing is computed in fp32");
  reader.Ignore({"max_seq_len"}, "max_position_embeddings says it");
  IgnoreExpertHousekeeping(reader);
  return frame.spec;
}

ModelSpec ResolveStep3p7(const ModelSource& source, ConfigReader& reader) {
  reader.Expect("model_type", {"step3p7"});
  ConfigReader* text = reader.Nested("text_config");
  if (!text) reader.Fail("text_config", "is missing");
  ModelSpec spec = ResolveStep3p5(source, *text);
  if (reader.Has("tie_word_embeddings")) spec.tied_embeddings = reader.Required<bool>("tie_word_embeddings");
  reader.Ignore({"vision_config", "image_token_id", "image_token_len", "patch_token_len", "projector_bias",
                 "im_start_token", "understand_projector_stride", "use_im_start_end"},
                "of images; only text is served");
  IgnoreHousekeeping(reader);
  for (const std::string_view part : {"vision_model.", "vit_large_projector."}) {
    spec.tensors.unused.push_back({std::string(part), "of images; only text is served"});
  }
  return spec;
}

const RegisterArchitectures kRegistered{{Dialect::kHuggingFace, "Step3p5ForCausalLM", ResolveStep3p5},
                                        {Dialect::kHuggingFace, "Step3p7ForConditionalGeneration", ResolveStep3p7}};

}  // namespace
}  // namespace gannet
