#include "checkpoint/tensor_plan.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/result.h"
#include "spec/visit.h"

namespace gannet {
namespace {

struct SlotNames {
  Slot slot;
  std::string_view name;          // in reports
  std::string_view hugging_face;  // whole, or after "model.layers.<l>."
  std::string_view gguf;          // whole, or after "blk.<l>."
};
constexpr SlotNames kSlots[] = {
    {Slot::kEmbedding, "embedding", "model.embed_tokens.weight", "token_embd.weight"},
    {Slot::kFinalNorm, "final norm", "model.norm.weight", "output_norm.weight"},
    {Slot::kLmHead, "lm head", "lm_head.weight", "output.weight"},
    {Slot::kRopeDivisors, "rope divisors", "", ""},  // the spec names the tensor
    {Slot::kMixerNorm, "mixer norm", "input_layernorm.weight", "attn_norm.weight"},
    {Slot::kFfnNorm, "ffn norm", "post_attention_layernorm.weight", "ffn_norm.weight"},
    {Slot::kQ, "q", "self_attn.q_proj.weight", "attn_q.weight"},
    {Slot::kK, "k", "self_attn.k_proj.weight", "attn_k.weight"},
    {Slot::kV, "v", "self_attn.v_proj.weight", "attn_v.weight"},
    {Slot::kO, "o", "self_attn.o_proj.weight", "attn_output.weight"},
    {Slot::kQBias, "q bias", "self_attn.q_proj.bias", "attn_q.bias"},
    {Slot::kKBias, "k bias", "self_attn.k_proj.bias", "attn_k.bias"},
    {Slot::kVBias, "v bias", "self_attn.v_proj.bias", "attn_v.bias"},
    {Slot::kOBias, "o bias", "self_attn.o_proj.bias", "attn_output.bias"},
    {Slot::kQNorm, "q norm", "self_attn.q_norm.weight", "attn_q_norm.weight"},
    {Slot::kKNorm, "k norm", "self_attn.k_norm.weight", "attn_k_norm.weight"},
    {Slot::kFfnGate, "ffn gate", "mlp.gate_proj.weight", "ffn_gate.weight"},
    {Slot::kFfnUp, "ffn up", "mlp.up_proj.weight", "ffn_up.weight"},
    {Slot::kFfnDown, "ffn down", "mlp.down_proj.weight", "ffn_down.weight"},
    {Slot::kFfnGateBias, "ffn gate bias", "mlp.gate_proj.bias", "ffn_gate.bias"},
    {Slot::kFfnUpBias, "ffn up bias", "mlp.up_proj.bias", "ffn_up.bias"},
    {Slot::kFfnDownBias, "ffn down bias", "mlp.down_proj.bias", "ffn_down.bias"},
};

const SlotNames& NamesOf(Slot slot) {
  const auto* found =
      std::find_if(std::begin(kSlots), std::end(kSlots), [slot](const SlotNames& names) { return names.slot == slot; });
  GANNET_ASSERT(found != std::end(kSlots), "every slot has a line in kSlots");
  return *found;
}

class Planner {
 public:
  explicit Planner(NameStyle style) : style_(style) {}

  void Matrix(int layer, Slot slot, int64_t rows, int64_t cols) {
    plan_.push_back({layer, slot, Name(layer, slot), rows, cols});
  }
  void Vector(int layer, Slot slot, int64_t size) { Matrix(layer, slot, 1, size); }
  void Named(Slot slot, const std::string& name, int64_t size) {
    for (const PlannedTensor& tensor : plan_) {
      if (tensor.slot != slot) continue;
      GANNET_ASSERT(tensor.name == name && tensor.cols == size, "one tensor serves a slot of the whole model");
      return;
    }
    plan_.push_back({-1, slot, name, 1, size});
  }
  std::vector<PlannedTensor> Take() { return std::move(plan_); }

 private:
  std::string Name(int layer, Slot slot) const {
    const SlotNames& names = NamesOf(slot);
    const bool hugging_face = style_ == NameStyle::kHuggingFace;
    const std::string_view name = hugging_face ? names.hugging_face : names.gguf;
    if (layer < 0) return std::string(name);
    return fmt::format("{}{}.{}", hugging_face ? "model.layers." : "blk.", layer, name);
  }

  NameStyle style_;
  std::vector<PlannedTensor> plan_;
};

void PlanMixer(int layer, int64_t hidden, const GroupedAttention& mixer, Planner& planner) {
  const int64_t q = mixer.query_heads * mixer.key_dim;
  const int64_t k = mixer.kv_heads * mixer.key_dim;
  const int64_t v = mixer.kv_heads * mixer.value_dim;
  planner.Matrix(layer, Slot::kQ, q, hidden);
  planner.Matrix(layer, Slot::kK, k, hidden);
  planner.Matrix(layer, Slot::kV, v, hidden);
  planner.Matrix(layer, Slot::kO, hidden, mixer.query_heads * mixer.value_dim);
  if (mixer.biases.q) planner.Vector(layer, Slot::kQBias, q);
  if (mixer.biases.k) planner.Vector(layer, Slot::kKBias, k);
  if (mixer.biases.v) planner.Vector(layer, Slot::kVBias, v);
  if (mixer.biases.o) planner.Vector(layer, Slot::kOBias, hidden);
  if (mixer.qk_norm) {
    planner.Vector(layer, Slot::kQNorm, mixer.key_dim);
    planner.Vector(layer, Slot::kKNorm, mixer.key_dim);
  }
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

void PlanFfn(int layer, int64_t hidden, const DenseFfn& ffn, Planner& planner) {
  planner.Matrix(layer, Slot::kFfnGate, ffn.width, hidden);
  planner.Matrix(layer, Slot::kFfnUp, ffn.width, hidden);
  planner.Matrix(layer, Slot::kFfnDown, hidden, ffn.width);
  if (!ffn.biases) return;
  planner.Vector(layer, Slot::kFfnGateBias, ffn.width);
  planner.Vector(layer, Slot::kFfnUpBias, ffn.width);
  planner.Vector(layer, Slot::kFfnDownBias, hidden);
}

}  // namespace

std::string_view NameOf(Slot slot) { return NamesOf(slot).name; }

bool IsVector(Slot slot) {
  switch (slot) {
    case Slot::kEmbedding:
    case Slot::kLmHead:
    case Slot::kQ:
    case Slot::kK:
    case Slot::kV:
    case Slot::kO:
    case Slot::kFfnGate:
    case Slot::kFfnUp:
    case Slot::kFfnDown:
      return false;
    case Slot::kFinalNorm:
    case Slot::kRopeDivisors:
    case Slot::kMixerNorm:
    case Slot::kFfnNorm:
    case Slot::kQBias:
    case Slot::kKBias:
    case Slot::kVBias:
    case Slot::kOBias:
    case Slot::kQNorm:
    case Slot::kKNorm:
    case Slot::kFfnGateBias:
    case Slot::kFfnUpBias:
    case Slot::kFfnDownBias:
      return true;
  }
  return false;
}

std::vector<PlannedTensor> PlanTensors(const ModelSpec& spec, NameStyle style) {
  Planner planner(style);
  planner.Matrix(-1, Slot::kEmbedding, spec.vocab, spec.hidden);
  planner.Vector(-1, Slot::kFinalNorm, spec.hidden);
  if (!spec.tied_embeddings) planner.Matrix(-1, Slot::kLmHead, spec.vocab, spec.hidden);
  for (int layer = 0; layer < static_cast<int>(spec.layers.size()); ++layer) {
    const LayerSpec& l = spec.layers[static_cast<size_t>(layer)];
    std::visit(Overloaded{[&](const PreNormResidual&) {
                 planner.Vector(layer, Slot::kMixerNorm, spec.hidden);
                 planner.Vector(layer, Slot::kFfnNorm, spec.hidden);
               }},
               l.residual);
    std::visit(Overloaded{[&](const GroupedAttention& mixer) { PlanMixer(layer, spec.hidden, mixer, planner); }},
               l.mixer);
    std::visit(Overloaded{[&](const DenseFfn& ffn) { PlanFfn(layer, spec.hidden, ffn, planner); }}, l.ffn);
  }
  return planner.Take();
}

std::string Describe(const std::vector<PlannedTensor>& plan) {
  std::string text;
  int64_t parameters = 0;
  for (const PlannedTensor& tensor : plan) {
    parameters += tensor.rows * tensor.cols;
    text += IsVector(tensor.slot) ? fmt::format("{} [{}]\n", tensor.name, tensor.cols)
                                  : fmt::format("{} [{}, {}]\n", tensor.name, tensor.rows, tensor.cols);
  }
  return fmt::format("{} tensors, {} parameters\n{}", plan.size(), parameters, text);
}

}  // namespace gannet
