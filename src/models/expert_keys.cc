#include "models/expert_keys.h"

#include <fmt/format.h>

namespace gannet {
namespace {

constexpr IntRange kCount{0, 1 << 20};
constexpr IntRange kDrafts{0, 64};

std::vector<bool> ExpertLayers(ConfigReader& reader, const ModelFrame& frame, int64_t dense) {
  std::vector<bool> sparse(static_cast<size_t>(frame.layer_count));
  const int64_t first = reader.Optional<int64_t>("first_k_dense_replace", dense, kCount);
  std::vector<int64_t> frequency(sparse.size(), 1);
  if (reader.IsList("moe_layer_freq")) {
    frequency = ForEachLayer(reader, "moe_layer_freq",
                             *reader.Find<std::vector<int64_t>>("moe_layer_freq", IntRange{0, 1}), frame);
  } else {
    const int64_t every = reader.Optional<int64_t>("moe_layer_freq", 1);
    for (size_t i = 0; i < frequency.size(); ++i) frequency[i] = static_cast<int64_t>(i) % every == 0;
  }
  for (size_t i = 0; i < sparse.size(); ++i) sparse[i] = static_cast<int64_t>(i) >= first && frequency[i] == 1;
  return ReadMlpLayerTypes(reader, frame, std::move(sparse), "first_k_dense_replace");
}

}  // namespace

std::vector<bool> ReadMlpLayerTypes(ConfigReader& reader, const ModelFrame& frame, std::vector<bool> sparse,
                                    std::string_view other) {
  auto types = reader.Find<std::vector<std::string>>("mlp_layer_types");
  if (!types) return sparse;
  bool differs = false;
  size_t layer = 0;
  for (const std::string& type : ForEachLayer(reader, "mlp_layer_types", *std::move(types), frame)) {
    if (type != "sparse" && type != "dense") {
      reader.Fail("mlp_layer_types",
                  fmt::format("calls layer {} \"{}\", but only dense and sparse are served", layer, type));
    }
    differs |= sparse[layer] != (type == "sparse");
    sparse[layer++] = type == "sparse";
  }
  if (differs && reader.Has(other)) {
    reader.Notice(fmt::format("mlp_layer_types wins over {}, which says otherwise", other));
  }
  return sparse;
}

void ReadExperts(ConfigReader& reader, const ExpertKeys& keys, MoeFfn& moe) {
  RouterSpec& router = moe.router;
  if (router.chosen_groups > router.groups) {
    reader.Fail(keys.chosen_groups, fmt::format("is {}, but there are {} groups", router.chosen_groups, router.groups));
  }
  router.experts = RequiredAlias<int64_t>(reader, keys.count);
  router.chosen = RequiredAlias<int64_t>(reader, keys.chosen);
  const int64_t among =
      DivideExactly(reader, keys.count.front(), router.experts, keys.groups, router.groups) * router.chosen_groups;
  if (router.chosen > among) {
    reader.Fail(keys.chosen.front(), fmt::format("is {}, but a row can choose among {}", router.chosen, among));
  }
  moe.expert_width = reader.Required<int64_t>(keys.width);
}

int64_t ReadSharedWidth(ConfigReader& reader, std::string_view key, int64_t otherwise, const MoeFfn& moe) {
  const int64_t shared = reader.Optional<int64_t>(key, otherwise, kCount);
  return shared > 0 ? CheckedWidth(reader, key, shared, moe.expert_width) : 0;
}

DeepseekFfns ReadDeepseekFfns(ConfigReader& reader, const ModelFrame& frame, int64_t dense) {
  const DenseFfn plain = ReadHfDenseFfn(reader, false);
  MoeFfn moe;
  RouterSpec& router = moe.router;
  router.groups = reader.Optional<int64_t>("n_group", 1);
  router.chosen_groups = reader.Optional<int64_t>("topk_group", 1);
  ReadExperts(reader, {}, moe);
  reader.Expect("scoring_func", {"sigmoid"});
  reader.Expect("topk_method", {"noaux_tc"});
  router.scoring = RouterSpec::Scoring::kSigmoid;
  router.correction_bias = true;
  router.normalize = reader.Optional<bool>("norm_topk_prob", true);
  router.scaling = reader.Optional<double>("routed_scaling_factor", 1);
  moe.shared_width = ReadSharedWidth(reader, "n_shared_experts", 0, moe);

  DeepseekFfns ffns{{}, plain, moe};
  for (const bool sparse : ExpertLayers(reader, frame, dense)) ffns.layers.push_back(sparse ? Ffn(moe) : Ffn(plain));
  IgnoreExpertHousekeeping(reader);
  return ffns;
}

void ReadDraftCount(ConfigReader& reader, ModelFrame& frame) {
  const auto heads = FindAlias<int64_t>(reader, {"num_nextn_predict_layers", "num_mtp_layers"}, kDrafts);
  frame.draft_count = heads.value_or(0);
  TensorNames::Drafts& names = frame.spec.tensors.drafts;
  for (int64_t i = 0; i < frame.draft_count; ++i) {
    names.owned.push_back(fmt::format("model.layers.{}.", frame.layer_count + i));
  }
  names.copies = {"embed_tokens.weight", "shared_head.head.weight"};
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
