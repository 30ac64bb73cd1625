#include "checkpoint/tensor_plan.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "base/result.h"
#include "checkpoint/tensor_slots.h"
#include "spec/visit.h"

namespace gannet {
namespace {

using Names = TensorNames;

class Planner {
 public:
  Planner(const ModelSpec& spec, NameStyle style)
      : hidden(spec.hidden), names(spec.tensors), layers_(static_cast<int>(spec.layers.size())), style_(style) {}

  // A tensor of its own, [rows, cols].
  void Matrix(int layer, Slot slot, int64_t rows, int64_t cols) { View(layer, slot, {rows, cols}, rows, cols, 0); }
  void Vector(int layer, Slot slot, int64_t size) { View(layer, slot, {size}, 1, size, 0); }
  // Whole rows of a tensor from element `offset` on.
  void View(int layer, Slot slot, std::vector<int64_t> shape, int64_t rows, int64_t cols, int64_t offset,
            int index = 0) {
    Strided(layer, slot, std::move(shape), rows, cols, offset, cols, 1, index);
  }
  void Strided(int layer, Slot slot, std::vector<int64_t> shape, int64_t rows, int64_t cols, int64_t offset,
               int64_t row_step, int64_t col_step, int index) {
    plan_.push_back({.layer = layer,
                     .slot = slot,
                     .index = index,
                     .name = Name(layer, slot, index),
                     .shape = std::move(shape),
                     .rows = rows,
                     .cols = cols,
                     .offset = offset,
                     .row_step = row_step,
                     .col_step = col_step});
  }
  void Named(Slot slot, const std::string& name, int64_t size) {
    for (const PlannedTensor& tensor : plan_) {
      if (tensor.slot != slot) continue;
      GANNET_ASSERT(tensor.name == name && tensor.cols == size, "one tensor serves a slot of the whole model");
      return;
    }
    Vector(-1, slot, size);
    plan_.back().name = name;
  }
  std::vector<PlannedTensor> Take() { return std::move(plan_); }

  const int64_t hidden;
  const Names& names;

 private:
  static void Fill(std::string& name, int number) {
    if (const size_t at = name.find("{}"); at != std::string::npos) name.replace(at, 2, std::to_string(number));
  }

  std::string Name(int layer, Slot slot, int index) const {
    const bool hugging_face = style_ == NameStyle::kHuggingFace;
    const SlotNames& usual = NamesOf(slot);
    std::string name(hugging_face ? usual.hugging_face : usual.gguf);
    if (const auto own = names.names.find(slot); own != names.names.end()) name = own->second;
    std::string prefix = fmt::format("{}{}.", hugging_face ? "model.layers." : "blk.", layer);
    if (layer >= layers_) {
      if (!names.drafts.prefix.empty()) prefix = names.drafts.prefix;
      Fill(prefix, layer - layers_);
      if (const auto own = names.drafts.names.find(slot); own != names.drafts.names.end()) {
        name = own->second;
        if (name.find("{}") != std::string::npos) prefix.clear();
        Fill(name, layer - layers_);
      }
    }
    Fill(name, index);
    return layer < 0 ? name : prefix + name;
  }

  int layers_;
  NameStyle style_;
  std::vector<PlannedTensor> plan_;
};

void PlanGate(int layer, const AttentionGate& gate, int64_t heads, int64_t value_dim, Planner& planner) {
  const int64_t width = gate.per == AttentionGate::Per::kHead ? heads : heads * value_dim;
  planner.Matrix(layer, Slot::kGate, width, planner.hidden);
  if (gate.bias) planner.Vector(layer, Slot::kGateBias, width);
}

void PlanMixer(int layer, const GroupedAttention& mixer, Planner& planner) {
  const int64_t hidden = planner.hidden;
  struct Part {
    Slot weight, bias;
    int64_t width;
    bool biased;
  };
  std::vector<Part> parts{{Slot::kQ, Slot::kQBias, mixer.query_heads * mixer.key_dim, mixer.biases.q},
                          {Slot::kK, Slot::kKBias, mixer.kv_heads * mixer.key_dim, mixer.biases.k},
                          {Slot::kV, Slot::kVBias, mixer.kv_heads * mixer.value_dim, mixer.biases.v}};
  const bool gate_inside = mixer.gate && planner.names.qkv == Names::Qkv::kFusedWithGate;
  if (gate_inside) {
    const bool per_head = mixer.gate->per == AttentionGate::Per::kHead;
    parts.push_back(
        {Slot::kGate, Slot::kGateBias, mixer.query_heads * (per_head ? 1 : mixer.value_dim), mixer.gate->bias});
  }
  const bool fused = planner.names.qkv != Names::Qkv::kSeparate;
  int64_t all = 0;
  for (const Part& part : parts) all += part.width;
  int64_t first = 0;
  for (const Part& part : parts) {
    const int64_t rows = fused ? all : part.width;
    planner.View(layer, part.weight, {rows, hidden}, part.width, hidden, fused ? first * hidden : 0);
    if (part.biased) planner.View(layer, part.bias, {rows}, 1, part.width, fused ? first : 0);
    first += part.width;
  }
  planner.Matrix(layer, Slot::kO, hidden, mixer.query_heads * mixer.value_dim);
  if (mixer.biases.o) planner.Vector(layer, Slot::kOBias, hidden);
  if (mixer.gate && !gate_inside) PlanGate(layer, *mixer.gate, mixer.query_heads, mixer.value_dim, planner);
  if (mixer.qk_norm) {
    planner.Vector(layer, Slot::kQNorm, mixer.key_dim);
    planner.Vector(layer, Slot::kKNorm, mixer.key_dim);
  }
  if (mixer.sinks) planner.Vector(layer, Slot::kSinks, mixer.query_heads);
  if (!mixer.rope) return;
  std::visit(Overloaded{
                 [](const std::monostate&) {},
                 [](const RopeLinear&) {},
                 [](const RopeLlama3&) {},
                 [](const RopeYarn&) {},
                 [&](const RopeDivisors& divisors) {
                   planner.Named(Slot::kRopeDivisors, divisors.tensor, mixer.rope->dims / 2);
                 },
             },
             mixer.rope->scaling);
}

void PlanMixer(int layer, const LatentAttention& mixer, Planner& planner) {
  const int64_t hidden = planner.hidden;
  const int64_t q = mixer.heads * (mixer.nope_dim + mixer.rope_dim);
  const int64_t latent = mixer.latent_rank;
  if (mixer.query_rank) {
    planner.Matrix(layer, Slot::kQDown, *mixer.query_rank, hidden);
    if (mixer.biases.q_a) planner.Vector(layer, Slot::kQDownBias, *mixer.query_rank);
    planner.Vector(layer, Slot::kQDownNorm, *mixer.query_rank);
    planner.Matrix(layer, Slot::kQUp, q, *mixer.query_rank);
  } else {
    planner.Matrix(layer, Slot::kQ, q, hidden);
  }
  planner.Matrix(layer, Slot::kKvDown, latent + mixer.rope_dim, hidden);
  if (mixer.biases.kv_a) planner.Vector(layer, Slot::kKvDownBias, latent + mixer.rope_dim);
  planner.Vector(layer, Slot::kLatentNorm, latent);
  const int64_t nope = mixer.nope_dim;
  const int64_t value = mixer.value_dim;
  const int heads = static_cast<int>(mixer.heads);
  if (planner.names.kv_up == Names::KvUp::kSplit) {
    for (int h = 0; h < heads; ++h) {
      const std::vector<int64_t> keys{heads, latent, nope};
      planner.View(layer, Slot::kKeyUpT, keys, latent, nope, h * latent * nope, h);
      planner.Strided(layer, Slot::kKeyUp, keys, nope, latent, h * latent * nope, 1, nope, h);
    }
    for (int h = 0; h < heads; ++h) {
      planner.View(layer, Slot::kValueUp, {heads, value, latent}, value, latent, h * value * latent, h);
    }
  } else {
    const std::vector<int64_t> joined{heads * (nope + value), latent};
    for (int h = 0; h < heads; ++h) {
      const int64_t keys = h * (nope + value) * latent;
      planner.View(layer, Slot::kKeyUp, joined, nope, latent, keys, h);
      planner.Strided(layer, Slot::kKeyUpT, joined, latent, nope, keys, 1, latent, h);
      planner.View(layer, Slot::kValueUp, joined, value, latent, keys + nope * latent, h);
    }
  }
  planner.Matrix(layer, Slot::kO, hidden, mixer.heads * value);
  if (mixer.biases.o) planner.Vector(layer, Slot::kOBias, hidden);
  if (mixer.gate) PlanGate(layer, *mixer.gate, mixer.heads, value, planner);
  if (!mixer.sparse || !mixer.sparse->indexer) return;
  const Indexer& indexer = *mixer.sparse->indexer;
  planner.Matrix(layer, Slot::kIndexQ, indexer.heads * indexer.dim, *mixer.query_rank);
  planner.Matrix(layer, Slot::kIndexK, indexer.dim, hidden);
  planner.Vector(layer, Slot::kIndexKNorm, indexer.dim);
  planner.Vector(layer, Slot::kIndexKNormBias, indexer.dim);
  planner.Matrix(layer, Slot::kIndexWeights, indexer.heads, hidden);
}

void PlanFfn(int layer, const DenseFfn& ffn, Planner& planner) {
  const int64_t hidden = planner.hidden;
  planner.Matrix(layer, Slot::kFfnGate, ffn.width, hidden);
  planner.Matrix(layer, Slot::kFfnUp, ffn.width, hidden);
  planner.Matrix(layer, Slot::kFfnDown, hidden, ffn.width);
  if (!ffn.biases) return;
  planner.Vector(layer, Slot::kFfnGateBias, ffn.width);
  planner.Vector(layer, Slot::kFfnUpBias, ffn.width);
  planner.Vector(layer, Slot::kFfnDownBias, hidden);
}

void PlanExperts(int layer, const MoeFfn& ffn, Planner& planner) {
  const int64_t hidden = planner.hidden;
  const int64_t width = ffn.expert_width;
  const int64_t experts = ffn.router.experts;
  const Names::Experts form = planner.names.experts;
  const auto each = [&](auto plan) {
    for (int e = 0; e < static_cast<int>(experts); ++e) plan(e);
  };
  const auto matrices = [&](Slot slot, int64_t rows, int64_t cols) {
    each([&](int e) {
      if (form == Names::Experts::kEach) {
        planner.View(layer, slot, {rows, cols}, rows, cols, 0, e);
      } else {
        planner.View(layer, slot, {experts, rows, cols}, rows, cols, e * rows * cols, e);
      }
    });
  };
  const auto biases = [&](Slot slot, int64_t size) {
    each([&](int e) { planner.View(layer, slot, {experts, size}, 1, size, e * size, e); });
  };
  if (form == Names::Experts::kStackedInterleaved) {
    const std::vector<int64_t> shape{experts, hidden, 2 * width};
    for (const Slot slot : {Slot::kExpertGate, Slot::kExpertUp}) {
      const int64_t turn = slot == Slot::kExpertUp ? 1 : 0;
      each([&](int e) {
        planner.Strided(layer, slot, shape, width, hidden, e * hidden * 2 * width + turn, 2, 2 * width, e);
      });
    }
    each([&](int e) {
      planner.Strided(layer, Slot::kExpertDown, {experts, width, hidden}, hidden, width, e * width * hidden, 1, hidden,
                      e);
    });
    if (!ffn.expert_biases) return;
    for (const Slot slot : {Slot::kExpertGateBias, Slot::kExpertUpBias}) {
      const int64_t turn = slot == Slot::kExpertUpBias ? 1 : 0;
      each([&](int e) {
        planner.Strided(layer, slot, {experts, 2 * width}, 1, width, e * 2 * width + turn, width, 2, e);
      });
    }
    biases(Slot::kExpertDownBias, hidden);
    return;
  }
  matrices(Slot::kExpertGate, width, hidden);
  matrices(Slot::kExpertUp, width, hidden);
  matrices(Slot::kExpertDown, hidden, width);
  if (!ffn.expert_biases) return;
  biases(Slot::kExpertGateBias, width);
  biases(Slot::kExpertUpBias, width);
  biases(Slot::kExpertDownBias, hidden);
}

void PlanFfn(int layer, const MoeFfn& ffn, Planner& planner) {
  planner.Matrix(layer, Slot::kRouter, ffn.router.experts, planner.hidden);
  if (ffn.router.bias) planner.Vector(layer, Slot::kRouterBias, ffn.router.experts);
  if (ffn.router.correction_bias) planner.Vector(layer, Slot::kRouterCorrection, ffn.router.experts);
  PlanExperts(layer, ffn, planner);
  if (ffn.shared_width == 0) return;
  planner.Matrix(layer, Slot::kSharedGate, ffn.shared_width, planner.hidden);
  planner.Matrix(layer, Slot::kSharedUp, ffn.shared_width, planner.hidden);
  planner.Matrix(layer, Slot::kSharedDown, planner.hidden, ffn.shared_width);
  if (!ffn.shared_biases) return;
  planner.Vector(layer, Slot::kSharedGateBias, ffn.shared_width);
  planner.Vector(layer, Slot::kSharedUpBias, ffn.shared_width);
  planner.Vector(layer, Slot::kSharedDownBias, planner.hidden);
}

}  // namespace

std::vector<PlannedTensor> PlanTensors(const ModelSpec& spec, NameStyle style) {
  Planner planner(spec, style);
  planner.Matrix(-1, Slot::kEmbedding, spec.vocab, spec.hidden);
  planner.Vector(-1, Slot::kFinalNorm, spec.hidden);
  if (!spec.tied_embeddings) planner.Matrix(-1, Slot::kLmHead, spec.vocab, spec.hidden);
  if (spec.lm_head_bias) planner.Vector(-1, Slot::kLmHeadBias, spec.vocab);
  for (int layer = 0; layer < spec.all_layers(); ++layer) {
    const LayerSpec& l = spec.layer(layer);
    std::visit(Overloaded{[&](const PreNormResidual&) {
                 planner.Vector(layer, Slot::kMixerNorm, spec.hidden);
                 planner.Vector(layer, Slot::kFfnNorm, spec.hidden);
               }},
               l.residual);
    std::visit([&](const auto& mixer) { PlanMixer(layer, mixer, planner); }, l.mixer);
    std::visit([&](const auto& ffn) { PlanFfn(layer, ffn, planner); }, l.ffn);
  }
  for (int i = 0; i < static_cast<int>(spec.drafts.size()); ++i) {
    const DraftHead& head = spec.drafts[static_cast<size_t>(i)];
    const int layer = static_cast<int>(spec.layers.size()) + i;
    planner.Vector(layer, Slot::kDraftEmbeddingNorm, spec.hidden);
    planner.Vector(layer, Slot::kDraftHiddenNorm, spec.hidden);
    planner.Matrix(layer, Slot::kDraftProjection, spec.hidden, 2 * spec.hidden);
    if (head.norms_output) planner.Vector(layer, Slot::kDraftNorm, spec.hidden);
    if (head.own_lm_head) planner.Matrix(layer, Slot::kDraftLmHead, spec.vocab, spec.hidden);
  }
  return planner.Take();
}

int64_t FileTensor::values() const {
  int64_t product = 1;
  for (const int64_t size : shape) product *= size;
  return product;
}

std::vector<FileTensor> FileTensors(const std::vector<PlannedTensor>& plan) {
  std::vector<FileTensor> tensors;
  std::set<std::string_view> seen;
  for (const PlannedTensor& planned : plan) {
    if (!seen.insert(planned.name).second) continue;
    tensors.push_back({planned.name, planned.shape, planned.slot, planned.shape.size() == 3 && planned.col_step != 1});
  }
  return tensors;
}

std::string Describe(const std::vector<PlannedTensor>& plan) {
  std::string text;
  int64_t parameters = 0;
  const std::vector<FileTensor> tensors = FileTensors(plan);
  for (size_t i = 0; i < tensors.size();) {
    const FileTensor& tensor = tensors[i];
    std::string name = tensor.name;
    size_t end = i + 1;
    if (IsOfExpert(tensor.slot)) {
      while (end < tensors.size() && tensors[end].slot == tensor.slot && tensors[end].shape == tensor.shape) {
        ++end;
      }
      if (end - i > 1) name.replace(name.rfind(".0."), 3, fmt::format(".{{0-{}}}.", end - i - 1));
    }
    text += fmt::format("{} [{}]\n", name, fmt::join(tensor.shape, ", "));
    parameters += tensor.values() * static_cast<int64_t>(end - i);
    i = end;
  }
  return fmt::format("{} tensors, {} parameters\n{}", tensors.size(), parameters, text);
}

}  // namespace gannet
