// ERNIE-4.5 with experts (Baidu's technical report, 2025): softmax scores, corrected for the choice alone.
#include "models/common_keys.h"
#include "models/expert_keys.h"
#include "models/grouped_keys.h"
#include "models/registry.h"

namespace gannet {
namespace {

constexpr IntRange kCount{0, 1 << 20};

MoeFfn ReadMoe(ConfigReader& reader, bool biased) {
  MoeFfn moe;
  ReadExperts(reader, {.count = {"moe_num_experts", "num_experts"}, .chosen = {"moe_k", "num_experts_per_tok"}}, moe);
  moe.router.scoring = RouterSpec::Scoring::kSoftmax;
  moe.router.correction_bias = reader.Optional<bool>("moe_use_aux_free", true);
  moe.router.normalize = true;
  moe.router.min_sum = reader.Optional<double>("moe_norm_min", 1e-12);
  moe.shared_width = ReadSharedWidth(reader, "moe_num_shared_experts", 2, moe);
  moe.shared_biases = biased;
  reader.Expect("moe_gate", {"topk"});
  reader.Ignore({"moe_capacity"}, "only training drops tokens");
  return moe;
}

std::vector<Ffn> ReadFfns(ConfigReader& reader, int64_t layers, bool biased, const DenseFfn& dense) {
  const MoeFfn moe = ReadMoe(reader, biased);
  const int64_t start = reader.Optional<int64_t>("moe_layer_start_index", 1, kCount);
  const int64_t end = reader.Optional<int64_t>("moe_layer_end_index", -1, IntRange{-1, kCount.max});
  const int64_t last = end == -1 ? layers - 1 : end;
  const int64_t interval = reader.Optional<int64_t>("moe_layer_interval", 1);
  if (interval > 1) reader.Notice("moe_layer_interval counts from the first layer, as transformers does");
  std::vector<Ffn> ffns;
  for (int64_t layer = 0; layer < layers; ++layer) {
    const bool sparse = layer >= start && layer <= last && (layer + 1) % interval == 0;
    ffns.push_back(sparse ? Ffn(moe) : Ffn(dense));
  }
  return ffns;
}

ModelSpec ResolveErnie45Moe(const ModelSource& source, ConfigReader& reader) {
  ModelFrame frame = ReadHfFrame(reader, "ernie4_5_moe");
  if (!reader.Has("tie_word_embeddings")) frame.spec.tied_embeddings = true;
  const int64_t heads = reader.Required<int64_t>("num_attention_heads");
  GroupedOptions options{
      .full = HfGroupedAttention(reader, heads, reader.Optional<int64_t>("num_key_value_heads", heads),
                                 HfHeadDim(reader, frame.spec.hidden, heads)),
      .rope = HfRopeOptions{.pairing = RopePairing::kInterleaved, .default_theta = 500000}};
  // Here use_bias reaches every projection, lm_head among them; the gate and o_proj as everywhere.
  const bool biased = reader.Optional<bool>("use_bias", false);
  options.full.biases = {.q = biased, .k = biased, .v = biased, .o = biased};
  frame.spec.lm_head_bias = biased;
  frame.spec.tensors.names[Slot::kRouterCorrection] = "mlp.moe_statics.e_score_correction_bias";
  ReadDraftCount(reader, frame);
  frame.spec.tensors.drafts = {.prefix = "model.mtp_block.{}.",
                               .names = {{Slot::kDraftEmbeddingNorm, "model.mtp_emb_norm.{}.weight"},
                                         {Slot::kDraftHiddenNorm, "model.mtp_hidden_norm.{}.weight"},
                                         {Slot::kDraftProjection, "model.mtp_linear_proj.{}.weight"}},
                               .owned = {"model.mtp_"}};
  const std::vector<GroupedAttention> attention = ReadGroupedLayers(reader, source, frame, options);
  const DenseFfn dense = ReadHfDenseFfn(reader, biased);
  AddLayers(frame, attention, ReadFfns(reader, frame.layer_count, biased, dense));
  AddDrafts(frame, attention.back(), dense);
  for (DraftHead& head : frame.spec.drafts) {
    head.norms_output = false;
    head.skips_first = true;
  }
  IgnoreExpertHousekeeping(reader);
  return frame.spec;
}

const RegisterArchitectures kRegistered{{Dialect::kHuggingFace, "Ernie4_5_MoeForCausalLM", ResolveErnie45Moe}};

}  // namespace
}  // namespace gannet
