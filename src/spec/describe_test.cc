#include "spec/describe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

namespace gannet {
namespace {

LayerSpec Layer() {
  GroupedAttention attention{.query_heads = 6, .kv_heads = 2, .key_dim = 10, .value_dim = 10, .scale = 0.5};
  attention.rope = RopeSpec{.dims = 10};
  return {attention, DenseFfn{.width = 80}, PreNormResidual{}, {}};
}
GroupedAttention& Attention(LayerSpec& layer) { return std::get<GroupedAttention>(layer.mixer); }

LatentAttention Latent(const std::function<void(LatentAttention&)>& change = {}) {
  LatentAttention attention{.heads = 3, .latent_rank = 8, .nope_dim = 4, .rope_dim = 2, .value_dim = 4};
  attention.rope = RopeSpec{.dims = 2};
  if (change) change(attention);
  return attention;
}
MoeFfn Experts(const std::function<void(MoeFfn&)>& change = {}) {
  MoeFfn ffn{.router = {.experts = 8, .chosen = 2}, .expert_width = 10};
  if (change) change(ffn);
  return ffn;
}

// A field that a description leaves out would hide a difference between layers.
TEST(Describe, EveryFieldOfALayerShows) {
  const std::function<void(LayerSpec&)> changes[] = {
      [](LayerSpec& l) { Attention(l).query_heads = 4; },
      [](LayerSpec& l) { Attention(l).kv_heads = 3; },
      [](LayerSpec& l) { Attention(l).key_dim = 12; },
      [](LayerSpec& l) { Attention(l).value_dim = 12; },
      [](LayerSpec& l) { Attention(l).scale = 0.5000000000000001; },
      [](LayerSpec& l) { Attention(l).rope.reset(); },
      [](LayerSpec& l) { Attention(l).rope->dims = 8; },
      [](LayerSpec& l) { Attention(l).rope->offset = 2; },
      [](LayerSpec& l) { Attention(l).rope->theta = 10001; },
      [](LayerSpec& l) { Attention(l).rope->pairing = RopePairing::kInterleaved; },
      [](LayerSpec& l) { Attention(l).rope->scaling = RopeLinear{}; },
      [](LayerSpec& l) { Attention(l).rope->scaling = RopeLinear{2}; },
      [](LayerSpec& l) { Attention(l).rope->scaling = RopeLlama3{}; },
      [](LayerSpec& l) { Attention(l).rope->scaling = RopeLlama3{.factor = 2}; },
      [](LayerSpec& l) { Attention(l).rope->scaling = RopeLlama3{.low_freq_factor = 2}; },
      [](LayerSpec& l) { Attention(l).rope->scaling = RopeLlama3{.high_freq_factor = 2}; },
      [](LayerSpec& l) { Attention(l).rope->scaling = RopeLlama3{.original_positions = 2}; },
      [](LayerSpec& l) { Attention(l).rope->scaling = RopeYarn{}; },
      [](LayerSpec& l) { Attention(l).rope->scaling = RopeYarn{.factor = 2}; },
      [](LayerSpec& l) { Attention(l).rope->scaling = RopeYarn{.original_positions = 2}; },
      [](LayerSpec& l) { Attention(l).rope->scaling = RopeYarn{.beta_fast = 2}; },
      [](LayerSpec& l) { Attention(l).rope->scaling = RopeYarn{.beta_slow = 2}; },
      [](LayerSpec& l) { Attention(l).rope->scaling = RopeYarn{.truncate = false}; },
      [](LayerSpec& l) { Attention(l).rope->scaling = RopeYarn{.attention_factor = 2}; },
      [](LayerSpec& l) { Attention(l).rope->scaling = RopeDivisors{"a"}; },
      [](LayerSpec& l) { Attention(l).rope->scaling = RopeDivisors{"b"}; },
      [](LayerSpec& l) { Attention(l).window = 8; },
      [](LayerSpec& l) { Attention(l).window = 9; },
      [](LayerSpec& l) { Attention(l).qk_norm = RmsNormSpec{}; },
      [](LayerSpec& l) { Attention(l).qk_norm = RmsNormSpec{1e-5}; },
      [](LayerSpec& l) { Attention(l).biases.q = true; },
      [](LayerSpec& l) { Attention(l).biases.k = true; },
      [](LayerSpec& l) { Attention(l).biases.v = true; },
      [](LayerSpec& l) { Attention(l).biases.o = true; },
      [](LayerSpec& l) { Attention(l).sinks = true; },
      [](LayerSpec& l) { Attention(l).value_scale = 0.5; },
      [](LayerSpec& l) { Attention(l).gate = AttentionGate{}; },
      [](LayerSpec& l) { Attention(l).gate = AttentionGate{.per = AttentionGate::Per::kHead}; },
      [](LayerSpec& l) { Attention(l).gate = AttentionGate{.activation = Activation::kScaledSoftsign}; },
      [](LayerSpec& l) { Attention(l).gate = AttentionGate{.activation = Activation::kShiftedSoftsign}; },
      [](LayerSpec& l) { Attention(l).gate = AttentionGate{.bias = true}; },
      [](LayerSpec& l) { l.mixer = Latent(); },
      [](LayerSpec& l) { l.mixer = Latent([](LatentAttention& a) { a.heads = 4; }); },
      [](LayerSpec& l) { l.mixer = Latent([](LatentAttention& a) { a.query_rank = 4; }); },
      [](LayerSpec& l) { l.mixer = Latent([](LatentAttention& a) { a.latent_rank = 4; }); },
      [](LayerSpec& l) { l.mixer = Latent([](LatentAttention& a) { a.nope_dim = 5; }); },
      [](LayerSpec& l) { l.mixer = Latent([](LatentAttention& a) { a.rope_dim = 4; }); },
      [](LayerSpec& l) { l.mixer = Latent([](LatentAttention& a) { a.value_dim = 5; }); },
      [](LayerSpec& l) { l.mixer = Latent([](LatentAttention& a) { a.scale = 0.5; }); },
      [](LayerSpec& l) { l.mixer = Latent([](LatentAttention& a) { a.rope.theta = 2; }); },
      [](LayerSpec& l) { l.mixer = Latent([](LatentAttention& a) { a.latent_norm.epsilon = 2; }); },
      [](LayerSpec& l) { l.mixer = Latent([](LatentAttention& a) { a.biases.q_a = true; }); },
      [](LayerSpec& l) { l.mixer = Latent([](LatentAttention& a) { a.biases.kv_a = true; }); },
      [](LayerSpec& l) { l.mixer = Latent([](LatentAttention& a) { a.biases.o = true; }); },
      [](LayerSpec& l) { l.mixer = Latent([](LatentAttention& a) { a.gate = AttentionGate{}; }); },
      [](LayerSpec& l) { l.ffn = Experts(); },
      [](LayerSpec& l) { l.ffn = Experts([](MoeFfn& f) { f.router.experts = 9; }); },
      [](LayerSpec& l) { l.ffn = Experts([](MoeFfn& f) { f.router.chosen = 3; }); },
      [](LayerSpec& l) { l.ffn = Experts([](MoeFfn& f) { f.router.scoring = RouterSpec::Scoring::kSoftmax; }); },
      [](LayerSpec& l) {
        l.ffn = Experts([](MoeFfn& f) { f.router.scoring = RouterSpec::Scoring::kSoftmaxOfChosen; });
      },
      [](LayerSpec& l) { l.ffn = Experts([](MoeFfn& f) { f.router.bias = true; }); },
      [](LayerSpec& l) { l.ffn = Experts([](MoeFfn& f) { f.router.correction_bias = true; }); },
      [](LayerSpec& l) { l.ffn = Experts([](MoeFfn& f) { f.router.groups = 2; }); },
      [](LayerSpec& l) { l.ffn = Experts([](MoeFfn& f) { f.router.groups = f.router.chosen_groups = 2; }); },
      [](LayerSpec& l) { l.ffn = Experts([](MoeFfn& f) { f.router.normalize = false; }); },
      [](LayerSpec& l) { l.ffn = Experts([](MoeFfn& f) { f.router.min_sum = 1e-12; }); },
      [](LayerSpec& l) { l.ffn = Experts([](MoeFfn& f) { f.router.scaling = 2; }); },
      [](LayerSpec& l) { l.ffn = Experts([](MoeFfn& f) { f.expert_width = 2; }); },
      [](LayerSpec& l) { l.ffn = Experts([](MoeFfn& f) { f.expert_biases = true; }); },
      [](LayerSpec& l) { l.ffn = Experts([](MoeFfn& f) { f.shared_width = 3; }); },
      [](LayerSpec& l) { l.ffn = Experts([](MoeFfn& f) { f.activation.limit = 3; }); },
      [](LayerSpec& l) { l.ffn = Experts([](MoeFfn& f) { f.activation.alpha = 3; }); },
      [](LayerSpec& l) { l.norm.unit_offset = true; },
      [](LayerSpec& l) { std::get<DenseFfn>(l.ffn).width = 81; },
      [](LayerSpec& l) { std::get<DenseFfn>(l.ffn).biases = true; },
      [](LayerSpec& l) { l.norm.epsilon = 1e-5; },
  };
  std::vector<std::vector<std::pair<std::string, std::string>>> seen{DescribeLayer(Layer())};
  for (const auto& change : changes) {
    LayerSpec layer = Layer();
    change(layer);
    const auto parts = DescribeLayer(layer);
    EXPECT_THAT(seen, testing::Not(testing::Contains(parts))) << "change " << seen.size();
    seen.push_back(parts);
  }
}

TEST(Describe, EqualNeighboursBecomeOneRun) {
  ModelSpec spec;
  spec.layers.assign(5, Layer());
  Attention(spec.layers[2]).window = 8;
  const std::vector<LayerRun> runs = LayerRuns(spec);
  ASSERT_EQ(runs.size(), 3u);
  EXPECT_EQ(runs[0].first, 0);
  EXPECT_EQ(runs[0].last, 1);
  EXPECT_EQ(runs[1].first, 2);
  EXPECT_EQ(runs[1].last, 2);
  EXPECT_EQ(runs[2].first, 3);
  EXPECT_EQ(runs[2].last, 4);
  EXPECT_THAT(Describe(spec), testing::AllOf(testing::HasSubstr("\nlayers 0-1\n"), testing::HasSubstr("\nlayer 2\n"),
                                             testing::HasSubstr("window: 8 tokens")));
}

TEST(Describe, Indices) {
  EXPECT_EQ(DescribeIndices({}), "");
  EXPECT_EQ(DescribeIndices({3}), "3");
  EXPECT_EQ(DescribeIndices({0, 1, 2, 5, 7, 8}), "0-2, 5, 7-8");
}

}  // namespace
}  // namespace gannet
