#include "layers/workspace_plan.h"

#include <fmt/format.h>

#include <algorithm>

#include "kernels/attention.h"
#include "spec/visit.h"

namespace gannet {
namespace {

constexpr std::array<std::string_view, kAreas> kNames = {"hidden",
                                                         "normed",
                                                         "q",
                                                         "k",
                                                         "v",
                                                         "q down",
                                                         "absorbed",
                                                         "latent out",
                                                         "attention",
                                                         "gate",
                                                         "carry",
                                                         "ffn inner",
                                                         "router",
                                                         "expert inner",
                                                         "expert out",
                                                         "index q",
                                                         "index k",
                                                         "index weights",
                                                         "partial",
                                                         "draft input",
                                                         "piece latents",
                                                         "piece keys",
                                                         "piece values",
                                                         "piece pages"};

Area AreaAt(size_t i) { return static_cast<Area>(i); }

class Widths {
 public:
  explicit Widths(WorkspacePlan& plan) : plan_(plan) {}
  void Need(Area area, int64_t floats) { plan_[area] = std::max(plan_[area], floats); }

 private:
  WorkspacePlan& plan_;
};

void NeedGate(const std::optional<AttentionGate>& gate, int64_t heads, int64_t value_dim, Widths& widths) {
  if (gate) widths.Need(Area::kGate, gate->per == AttentionGate::Per::kHead ? heads : heads * value_dim);
}

void Need(const GroupedAttention& mixer, Widths& widths) {
  widths.Need(Area::kQ, mixer.query_heads * mixer.key_dim);
  widths.Need(Area::kK, mixer.kv_heads * mixer.key_dim);
  widths.Need(Area::kV, mixer.kv_heads * mixer.value_dim);
  widths.Need(Area::kAttention, mixer.query_heads * mixer.value_dim);
  NeedGate(mixer.gate, mixer.query_heads, mixer.value_dim, widths);
}

void Need(const LatentAttention& mixer, Widths& widths) {
  const int64_t key = mixer.nope_dim + mixer.rope_dim;
  const int64_t row = mixer.latent_rank + mixer.rope_dim;
  const KvLayout piece{mixer.heads, key, mixer.value_dim, KvType::kF32};
  if (mixer.query_rank) widths.Need(Area::kQDown, *mixer.query_rank);
  widths.Need(Area::kQ, mixer.heads * key);
  widths.Need(Area::kK, row);
  widths.Need(Area::kAbsorbed, mixer.heads * std::max(row, mixer.value_dim));
  widths.Need(Area::kLatentOut, mixer.heads * mixer.latent_rank);
  widths.Need(Area::kAttention, mixer.heads * mixer.value_dim);
  widths.Need(Area::kCarry, mixer.heads * AttentionCarry(piece));
  NeedGate(mixer.gate, mixer.heads, mixer.value_dim, widths);
  widths.Need(Area::kPieceLatents, row);
  widths.Need(Area::kPieceKeys, mixer.heads * key);
  widths.Need(Area::kPieceValues, mixer.heads * mixer.value_dim);
  widths.Need(Area::kPiecePages, piece.block_bytes() / kBlockTokens / static_cast<int64_t>(sizeof(float)) + 1);
}

void NeedIndexer(const LatentAttention& mixer, WorkspacePlan& plan, Widths& widths) {
  if (!mixer.sparse) return;
  plan.chosen_keys = std::max(plan.chosen_keys, mixer.sparse->top_k);
  if (!mixer.sparse->indexer) return;
  const Indexer& indexer = *mixer.sparse->indexer;
  widths.Need(Area::kIndexQ, indexer.heads * indexer.dim);
  widths.Need(Area::kIndexK, indexer.dim);
  widths.Need(Area::kIndexWeights, indexer.heads);
}

void Need(const DenseFfn& ffn, Widths& widths) { widths.Need(Area::kFfnInner, ffn.width); }

void NeedExperts(const MoeFfn& ffn, int64_t hidden, Widths& widths) {
  widths.Need(Area::kRouter, ffn.router.experts);
  widths.Need(Area::kExpertInner, ffn.router.chosen * ffn.expert_width + ffn.shared_width);
  widths.Need(Area::kExpertOut, (ffn.router.chosen + (ffn.shared_width > 0)) * hidden);
}

}  // namespace

WorkspacePlan PlanWorkspace(const ModelSpec& spec, int ranks) {
  WorkspacePlan plan;
  Widths widths(plan);
  if (ranks > 1) widths.Need(Area::kPartial, spec.hidden);
  widths.Need(Area::kHidden, spec.hidden);
  widths.Need(Area::kNormed, spec.hidden);
  plan.logits = spec.vocab;
  if (!spec.drafts.empty()) widths.Need(Area::kDraftInput, 2 * spec.hidden);
  for (int i = 0; i < spec.all_layers(); ++i) {
    const LayerSpec& layer = spec.layer(i);
    std::visit([&](const auto& mixer) { Need(mixer, widths); }, layer.mixer);
    if (const auto* latent = std::get_if<LatentAttention>(&layer.mixer)) NeedIndexer(*latent, plan, widths);
    std::visit(Overloaded{[&](const DenseFfn& ffn) { Need(ffn, widths); },
                          [&](const MoeFfn& ffn) { NeedExperts(ffn, spec.hidden, widths); }},
               layer.ffn);
    std::visit(Overloaded{[](const PreNormResidual&) {}}, layer.residual);
  }
  return plan;
}

int64_t WorkspacePlan::floats_per_row() const {
  int64_t floats = 0;
  for (size_t i = 0; i < kAreas; ++i) floats += IsOfPiece(AreaAt(i)) ? 0 : widths[i];
  return floats;
}

int64_t WorkspacePlan::floats(Area area, int64_t rows) const {
  return (*this)[area] * (IsOfPiece(area) ? kPieceTokens : rows);
}

int64_t WorkspacePlan::bytes(int64_t rows, int64_t logit_rows) const {
  int64_t total = logit_rows * logits;
  for (size_t i = 0; i < kAreas; ++i) total += floats(AreaAt(i), rows);
  if (chosen_keys > 0) total += (chosen_keys + 1) * rows;
  return total * 4;  // floats and positions alike
}

std::string Describe(const WorkspacePlan& plan) {
  std::string text = fmt::format("{} floats per row:", plan.floats_per_row());
  const char* comma = "";
  for (size_t i = 0; i < kAreas; ++i) {
    if (plan.widths[i] == 0) continue;
    text += fmt::format("{} {} {}", comma, kNames[i], plan.widths[i]);
    comma = ",";
  }
  if (plan.chosen_keys > 0) text += fmt::format("; chosen keys {}", plan.chosen_keys);
  return text + fmt::format("; logits {}\n", plan.logits);
}

}  // namespace gannet
