#include "checkpoint/tensor_slots.h"

#include <algorithm>
#include <iterator>

#include "base/result.h"
#include "checkpoint/tensor_plan.h"

namespace gannet {
namespace {

constexpr SlotNames kSlots[] = {
    {Slot::kEmbedding, SlotKind::kMatrix, "embedding", "model.embed_tokens.weight", "token_embd.weight"},
    {Slot::kFinalNorm, SlotKind::kNorm, "final norm", "model.norm.weight", "output_norm.weight"},
    {Slot::kLmHead, SlotKind::kMatrix, "lm head", "lm_head.weight", "output.weight"},
    {Slot::kLmHeadBias, SlotKind::kVector, "lm head bias", "lm_head.bias", "output.bias"},
    {Slot::kRopeDivisors, SlotKind::kVector, "rope divisors", "", ""},
    {Slot::kMixerNorm, SlotKind::kNorm, "mixer norm", "input_layernorm.weight", "attn_norm.weight"},
    {Slot::kFfnNorm, SlotKind::kNorm, "ffn norm", "post_attention_layernorm.weight", "ffn_norm.weight"},
    {Slot::kQ, SlotKind::kMatrix, "q", "self_attn.q_proj.weight", "attn_q.weight"},
    {Slot::kK, SlotKind::kMatrix, "k", "self_attn.k_proj.weight", "attn_k.weight"},
    {Slot::kV, SlotKind::kMatrix, "v", "self_attn.v_proj.weight", "attn_v.weight"},
    {Slot::kO, SlotKind::kMatrix, "o", "self_attn.o_proj.weight", "attn_output.weight"},
    {Slot::kQBias, SlotKind::kVector, "q bias", "self_attn.q_proj.bias", "attn_q.bias"},
    {Slot::kKBias, SlotKind::kVector, "k bias", "self_attn.k_proj.bias", "attn_k.bias"},
    {Slot::kVBias, SlotKind::kVector, "v bias", "self_attn.v_proj.bias", "attn_v.bias"},
    {Slot::kOBias, SlotKind::kVector, "o bias", "self_attn.o_proj.bias", "attn_output.bias"},
    {Slot::kQNorm, SlotKind::kNorm, "q norm", "self_attn.q_norm.weight", "attn_q_norm.weight"},
    {Slot::kKNorm, SlotKind::kNorm, "k norm", "self_attn.k_norm.weight", "attn_k_norm.weight"},
    {Slot::kSinks, SlotKind::kVector, "sinks", "self_attn.sinks", "attn_sinks.weight"},
    {Slot::kGate, SlotKind::kMatrix, "attention gate", "self_attn.gate.weight", "attn_gate.weight"},
    {Slot::kGateBias, SlotKind::kVector, "attention gate bias", "self_attn.gate.bias", "attn_gate.bias"},
    {Slot::kQDown, SlotKind::kMatrix, "q down", "self_attn.q_a_proj.weight", "attn_q_a.weight"},
    {Slot::kQDownBias, SlotKind::kVector, "q down bias", "self_attn.q_a_proj.bias", "attn_q_a.bias"},
    {Slot::kQDownNorm, SlotKind::kNorm, "q down norm", "self_attn.q_a_layernorm.weight", "attn_q_a_norm.weight"},
    {Slot::kQUp, SlotKind::kMatrix, "q up", "self_attn.q_b_proj.weight", "attn_q_b.weight"},
    {Slot::kKvDown, SlotKind::kMatrix, "kv down", "self_attn.kv_a_proj_with_mqa.weight", "attn_kv_a_mqa.weight"},
    {Slot::kKvDownBias, SlotKind::kVector, "kv down bias", "self_attn.kv_a_proj_with_mqa.bias", "attn_kv_a_mqa.bias"},
    {Slot::kLatentNorm, SlotKind::kNorm, "latent norm", "self_attn.kv_a_layernorm.weight", "attn_kv_a_norm.weight"},
    {Slot::kKeyUp, SlotKind::kMatrix, "key up", "self_attn.kv_b_proj.weight", "attn_kv_b.weight"},
    {Slot::kKeyUpT, SlotKind::kMatrix, "key up, transposed", "self_attn.kv_b_proj.weight", "attn_kv_b.weight"},
    {Slot::kValueUp, SlotKind::kMatrix, "value up", "self_attn.kv_b_proj.weight", "attn_kv_b.weight"},
    {Slot::kIndexQ, SlotKind::kMatrix, "index q", "self_attn.indexer.wq_b.weight", "indexer.attn_q_b.weight"},
    {Slot::kIndexK, SlotKind::kMatrix, "index k", "self_attn.indexer.wk.weight", "indexer.attn_k.weight"},
    {Slot::kIndexKNorm, SlotKind::kNorm, "index k norm", "self_attn.indexer.k_norm.weight", "indexer.k_norm.weight"},
    {Slot::kIndexKNormBias, SlotKind::kVector, "index k norm bias", "self_attn.indexer.k_norm.bias",
     "indexer.k_norm.bias"},
    {Slot::kIndexWeights, SlotKind::kMatrix, "index weights", "self_attn.indexer.weights_proj.weight",
     "indexer.proj.weight"},
    {Slot::kDraftEmbeddingNorm, SlotKind::kNorm, "draft embedding norm", "enorm.weight", "nextn.enorm.weight"},
    {Slot::kDraftHiddenNorm, SlotKind::kNorm, "draft hidden norm", "hnorm.weight", "nextn.hnorm.weight"},
    {Slot::kDraftProjection, SlotKind::kMatrix, "draft projection", "eh_proj.weight", "nextn.eh_proj.weight"},
    {Slot::kDraftNorm, SlotKind::kNorm, "draft norm", "shared_head.norm.weight", "nextn.shared_head_norm.weight"},
    {Slot::kDraftLmHead, SlotKind::kMatrix, "draft lm head", "shared_head.head.weight",
     "nextn.shared_head_head.weight"},
    {Slot::kFfnGate, SlotKind::kMatrix, "ffn gate", "mlp.gate_proj.weight", "ffn_gate.weight"},
    {Slot::kFfnUp, SlotKind::kMatrix, "ffn up", "mlp.up_proj.weight", "ffn_up.weight"},
    {Slot::kFfnDown, SlotKind::kMatrix, "ffn down", "mlp.down_proj.weight", "ffn_down.weight"},
    {Slot::kFfnGateBias, SlotKind::kVector, "ffn gate bias", "mlp.gate_proj.bias", "ffn_gate.bias"},
    {Slot::kFfnUpBias, SlotKind::kVector, "ffn up bias", "mlp.up_proj.bias", "ffn_up.bias"},
    {Slot::kFfnDownBias, SlotKind::kVector, "ffn down bias", "mlp.down_proj.bias", "ffn_down.bias"},
    {Slot::kRouter, SlotKind::kMatrix, "router", "mlp.gate.weight", "ffn_gate_inp.weight"},
    {Slot::kRouterBias, SlotKind::kVector, "router bias", "mlp.gate.bias", "ffn_gate_inp.bias"},
    {Slot::kRouterCorrection, SlotKind::kVector, "router correction", "mlp.gate.e_score_correction_bias",
     "exp_probs_b.bias"},
    {Slot::kExpertGate, SlotKind::kMatrix, "expert gate", "mlp.experts.{}.gate_proj.weight", "ffn_gate_exps.weight"},
    {Slot::kExpertUp, SlotKind::kMatrix, "expert up", "mlp.experts.{}.up_proj.weight", "ffn_up_exps.weight"},
    {Slot::kExpertDown, SlotKind::kMatrix, "expert down", "mlp.experts.{}.down_proj.weight", "ffn_down_exps.weight"},
    {Slot::kExpertGateBias, SlotKind::kVector, "expert gate bias", "mlp.experts.gate_proj_bias", "ffn_gate_exps.bias"},
    {Slot::kExpertUpBias, SlotKind::kVector, "expert up bias", "mlp.experts.up_proj_bias", "ffn_up_exps.bias"},
    {Slot::kExpertDownBias, SlotKind::kVector, "expert down bias", "mlp.experts.down_proj_bias", "ffn_down_exps.bias"},
    {Slot::kSharedGate, SlotKind::kMatrix, "shared gate", "mlp.shared_experts.gate_proj.weight",
     "ffn_gate_shexp.weight"},
    {Slot::kSharedUp, SlotKind::kMatrix, "shared up", "mlp.shared_experts.up_proj.weight", "ffn_up_shexp.weight"},
    {Slot::kSharedDown, SlotKind::kMatrix, "shared down", "mlp.shared_experts.down_proj.weight",
     "ffn_down_shexp.weight"},
    {Slot::kSharedGateBias, SlotKind::kVector, "shared gate bias", "mlp.shared_experts.gate_proj.bias",
     "ffn_gate_shexp.bias"},
    {Slot::kSharedUpBias, SlotKind::kVector, "shared up bias", "mlp.shared_experts.up_proj.bias", "ffn_up_shexp.bias"},
    {Slot::kSharedDownBias, SlotKind::kVector, "shared down bias", "mlp.shared_experts.down_proj.bias",
     "ffn_down_shexp.bias"},
};

}  // namespace

const SlotNames& NamesOf(Slot slot) {
  const auto* found =
      std::find_if(std::begin(kSlots), std::end(kSlots), [slot](const SlotNames& names) { return names.slot == slot; });
  GANNET_ASSERT(found != std::end(kSlots), "every slot has a line in kSlots");
  return *found;
}

std::string_view NameOf(Slot slot) { return NamesOf(slot).name; }
bool IsVector(Slot slot) { return NamesOf(slot).kind != SlotKind::kMatrix; }
bool IsNorm(Slot slot) { return NamesOf(slot).kind == SlotKind::kNorm; }
bool IsOfExpert(Slot slot) { return slot >= Slot::kExpertGate && slot <= Slot::kExpertDownBias; }

}  // namespace gannet
