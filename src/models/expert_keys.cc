#include "models/expert_keys.h"

#include <fmt/format.h>

namespace gannet {
namespace {

constexpr IntRange kCount{0, 1 << 20};

// One count under any of several names that agree.
std::optional<int64_t> Alias(ConfigReader& reader, std::initializer_list<std::string_view> keys, IntRange range) {
  std::optional<int64_t> found;
  for (const std::string_view key : keys) {
    const std::optional<int64_t> value = reader.Find<int64_t>(key, range);
    if (found && value && *found != *value)
      reader.Fail(key, fmt::format("is {}, but {} says {}", *value, *keys.begin(), *found));
    if (!found) found = value;
  }
  return found;
}

std::vector<bool> ExpertLayers(ConfigReader& reader, int64_t layers) {
  std::vector<bool> experts(static_cast<size_t>(layers));
  const int64_t dense = reader.Optional<int64_t>("first_k_dense_replace", 0, kCount);
  std::vector<int64_t> frequency(experts.size(), 1);
  if (reader.IsList("moe_layer_freq")) {
    frequency = *reader.Find<std::vector<int64_t>>("moe_layer_freq", IntRange{0, 1});
    if (frequency.size() != experts.size()) {
      reader.Fail("moe_layer_freq", fmt::format("has {} entries for {} layers", frequency.size(), layers));
    }
  } else {
    const int64_t every = reader.Optional<int64_t>("moe_layer_freq", 1);
    for (size_t i = 0; i < frequency.size(); ++i) frequency[i] = static_cast<int64_t>(i) % every == 0;
  }
  for (size_t i = 0; i < experts.size(); ++i) experts[i] = static_cast<int64_t>(i) >= dense && frequency[i] == 1;
  const auto types = reader.Find<std::vector<std::string>>("mlp_layer_types");
  if (!types) return experts;
  if (types->size() != experts.size()) {
    reader.Fail("mlp_layer_types", fmt::format("has {} entries for {} layers", types->size(), layers));
  }
  bool differs = false;
  for (size_t i = 0; i < experts.size(); ++i) {
    const std::string& type = (*types)[i];
    if (type != "sparse" && type != "dense") {
      reader.Fail("mlp_layer_types",
                  fmt::format("calls layer {} \"{}\", but only dense and sparse are served", i, type));
    }
    differs |= experts[i] != (type == "sparse");
    experts[i] = type == "sparse";
  }
  if (differs) reader.Notice("mlp_layer_types wins over first_k_dense_replace, which says otherwise");
  return experts;
}

}  // namespace

void ReadExperts(ConfigReader& reader, std::initializer_list<std::string_view> count_keys, MoeFfn& moe) {
  const std::string_view key = *count_keys.begin();
  RouterSpec& router = moe.router;
  const std::optional<int64_t> experts = Alias(reader, count_keys, kWidth);
  if (!experts) reader.Fail(key, "is missing");
  router.experts = *experts;
  router.chosen = reader.Required<int64_t>("num_experts_per_tok");
  if (router.chosen > router.experts / router.groups * router.chosen_groups) {
    reader.Fail("num_experts_per_tok", fmt::format("is {}, but a row can choose among {}", router.chosen,
                                                   router.experts / router.groups * router.chosen_groups));
  }
  moe.expert_width = reader.Required<int64_t>("moe_intermediate_size");
}

std::vector<Ffn> ReadDeepseekFfns(ConfigReader& reader, int64_t layers) {
  const DenseFfn dense = ReadHfDenseFfn(reader, false);
  MoeFfn moe;
  RouterSpec& router = moe.router;
  router.groups = reader.Optional<int64_t>("n_group", 1);
  router.chosen_groups = reader.Optional<int64_t>("topk_group", 1);
  if (router.chosen_groups > router.groups) {
    reader.Fail("topk_group", fmt::format("is {}, but there are {} groups", router.chosen_groups, router.groups));
  }
  ReadExperts(reader, {"n_routed_experts", "num_local_experts", "num_experts"}, moe);
  DivideExactly(reader, "n_routed_experts", router.experts, "n_group", router.groups);
  reader.Expect("scoring_func", {"sigmoid"});
  reader.Expect("topk_method", {"noaux_tc"});
  router.scoring = RouterSpec::Scoring::kSigmoid;
  router.correction_bias = true;
  router.normalize = reader.Optional<bool>("norm_topk_prob", true);
  router.scaling = reader.Optional<double>("routed_scaling_factor", 1);
  const int64_t shared = reader.Optional<int64_t>("n_shared_experts", 0, kCount);
  moe.shared_width = shared > 0 ? CheckedWidth(reader, "n_shared_experts", shared, moe.expert_width) : 0;

  std::vector<Ffn> ffns;
  for (const bool sparse : ExpertLayers(reader, layers)) ffns.push_back(sparse ? Ffn(moe) : Ffn(dense));
  IgnoreExpertHousekeeping(reader);
  return ffns;
}

void ReadDraftLayers(ConfigReader& reader, ModelFrame& frame) {
  const auto heads = Alias(reader, {"num_nextn_predict_layers", "num_mtp_layers"}, kCount);
  frame.spec.draft_layers = heads.value_or(0);
  for (int64_t i = 0; i < frame.spec.draft_layers; ++i) {
    frame.spec.tensors.unused.push_back(
        {fmt::format("model.layers.{}.", frame.layer_count + i), "a draft head (MTP), which nothing runs yet"});
  }
}

void IgnoreExpertHousekeeping(ConfigReader& reader) {
  reader.Ignore({"router_aux_loss_coef", "output_router_logits", "router_jitter_noise", "aux_loss_alpha", "seq_aux"},
                "only training uses it");
  reader.Ignore({"ep_size", "pretraining_tp"}, "how the work was split");
  reader.Ignore({"moe_router_dtype"}, "routing is computed in fp32");
}

std::optional<AttentionGate> ReadGate(ConfigReader& reader, bool& o_bias) {
  const bool gated = reader.Optional<bool>("use_gated_attn", false);
  const bool biased = reader.Optional<bool>("use_bias", false);
  const std::string act = reader.Optional<std::string>("gated_attn_act", "sigmoid");
  o_bias |= biased;
  AttentionGate gate;
  gate.bias = biased;
  if (act == "sigmoid") {
    gate.activation = Activation::kSigmoid;
  } else if (act == "scaled_softsign") {
    gate.activation = Activation::kScaledSoftsign;
  } else if (act == "shifted_softsign") {
    gate.activation = Activation::kShiftedSoftsign;
  } else {
    reader.Fail("gated_attn_act",
                fmt::format("is \"{}\", but only sigmoid, scaled_softsign and shifted_softsign are served", act));
  }
  return gated ? std::optional(gate) : std::nullopt;
}

}  // namespace gannet
