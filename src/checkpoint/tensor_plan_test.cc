#include "checkpoint/tensor_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

namespace gannet {
namespace {

using testing::ElementsAre;

ModelSpec Spec() {
  GroupedAttention attention{.query_heads = 6, .kv_heads = 2, .key_dim = 10, .value_dim = 12};
  ModelSpec spec;
  spec.hidden = 48;
  spec.vocab = 100;
  spec.layers.assign(2, LayerSpec{attention, DenseFfn{.width = 80}, PreNormResidual{}, {}});
  return spec;
}

std::vector<std::string> Lines(const std::vector<PlannedTensor>& plan, int layer) {
  std::vector<PlannedTensor> some;
  for (const PlannedTensor& tensor : plan) {
    if (tensor.layer == layer) some.push_back(tensor);
  }
  std::vector<std::string> lines;
  std::string text = Describe(some);
  for (size_t at = text.find('\n') + 1; at < text.size(); at = text.find('\n', at) + 1) {
    lines.push_back(text.substr(at, text.find('\n', at) - at));
  }
  return lines;
}

TEST(TensorPlan, HuggingFaceNames) {
  const std::vector<PlannedTensor> plan = PlanTensors(Spec(), NameStyle::kHuggingFace);
  EXPECT_THAT(Lines(plan, -1),
              ElementsAre("model.embed_tokens.weight [100, 48]", "model.norm.weight [48]", "lm_head.weight [100, 48]"));
  EXPECT_THAT(
      Lines(plan, 1),
      ElementsAre("model.layers.1.input_layernorm.weight [48]", "model.layers.1.post_attention_layernorm.weight [48]",
                  "model.layers.1.self_attn.q_proj.weight [60, 48]", "model.layers.1.self_attn.k_proj.weight [20, 48]",
                  "model.layers.1.self_attn.v_proj.weight [24, 48]", "model.layers.1.self_attn.o_proj.weight [48, 72]",
                  "model.layers.1.mlp.gate_proj.weight [80, 48]", "model.layers.1.mlp.up_proj.weight [80, 48]",
                  "model.layers.1.mlp.down_proj.weight [48, 80]"));
}

TEST(TensorPlan, GgufNamesAndOptions) {
  ModelSpec spec = Spec();
  spec.tied_embeddings = true;
  for (LayerSpec& layer : spec.layers) {
    auto& attention = std::get<GroupedAttention>(layer.mixer);
    attention.biases = {true, true, true, true};
    attention.qk_norm = RmsNormSpec{};
    attention.rope = RopeSpec{.dims = 10, .scaling = RopeDivisors{"rope_freqs.weight"}};
    std::get<DenseFfn>(layer.ffn).biases = true;
  }
  const std::vector<PlannedTensor> plan = PlanTensors(spec, NameStyle::kGguf);
  EXPECT_THAT(Lines(plan, -1),
              ElementsAre("token_embd.weight [100, 48]", "output_norm.weight [48]", "rope_freqs.weight [5]"));
  EXPECT_THAT(
      Lines(plan, 0),
      ElementsAre("blk.0.attn_norm.weight [48]", "blk.0.ffn_norm.weight [48]", "blk.0.attn_q.weight [60, 48]",
                  "blk.0.attn_q.bias [60]", "blk.0.attn_k.weight [20, 48]", "blk.0.attn_k.bias [20]",
                  "blk.0.attn_v.weight [24, 48]", "blk.0.attn_v.bias [24]", "blk.0.attn_output.weight [48, 72]",
                  "blk.0.attn_output.bias [48]", "blk.0.attn_q_norm.weight [10]", "blk.0.attn_k_norm.weight [10]",
                  "blk.0.ffn_gate.weight [80, 48]", "blk.0.ffn_up.weight [80, 48]", "blk.0.ffn_down.weight [48, 80]",
                  "blk.0.ffn_gate.bias [80]", "blk.0.ffn_up.bias [80]", "blk.0.ffn_down.bias [48]"));
}

TEST(TensorPlan, LayersMayDiffer) {
  ModelSpec spec = Spec();
  std::get<DenseFfn>(spec.layers[1].ffn).width = 7;
  std::get<GroupedAttention>(spec.layers[0].mixer).biases.q = true;
  std::set<std::string> names;
  for (const PlannedTensor& tensor : PlanTensors(spec, NameStyle::kHuggingFace)) {
    EXPECT_TRUE(names.insert(tensor.name).second) << tensor.name << " twice";
    if (tensor.slot == Slot::kFfnGate) {
      EXPECT_EQ(tensor.rows, tensor.layer == 1 ? 7 : 80);
    }
    if (tensor.slot == Slot::kQBias) {
      EXPECT_EQ(tensor.layer, 0);
    }
  }
  EXPECT_EQ(NameOf(Slot::kFfnDownBias), "ffn down bias");
}

}  // namespace
}  // namespace gannet
