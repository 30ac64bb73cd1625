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
