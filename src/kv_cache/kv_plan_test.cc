#include "kv_cache/kv_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace gannet {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

LayerSpec Layer(int64_t kv_heads, int64_t key_dim, int64_t value_dim, std::optional<int64_t> window = {}) {
  GroupedAttention attention{
      .query_heads = 2 * kv_heads, .kv_heads = kv_heads, .key_dim = key_dim, .value_dim = value_dim};
  attention.window = window;
  return {attention, DenseFfn{}, PreNormResidual{}, {}};
}

TEST(KvPlan, GroupsByLayoutAndWindow) {
  ModelSpec spec;
  spec.layers = {Layer(2, 64, 64),      Layer(2, 64, 64, 128), Layer(2, 64, 64),      Layer(2, 64, 32),
                 Layer(2, 64, 64, 128), Layer(2, 64, 64, 256), Layer(4, 64, 64, 128), Layer(2, 64, 64)};
  const KvPlan plan = PlanKv(spec, KvType::kF16);
  ASSERT_EQ(plan.groups.size(), 5u);
  EXPECT_THAT(plan.groups[0].layers, ElementsAre(0, 2, 7));
  EXPECT_FALSE(plan.groups[0].window);
  EXPECT_THAT(plan.groups[1].layers, ElementsAre(1, 4));
  EXPECT_EQ(plan.groups[1].window, 128);
  EXPECT_THAT(plan.groups[2].layers, ElementsAre(3));
  EXPECT_THAT(plan.groups[3].layers, ElementsAre(5));
  EXPECT_THAT(plan.groups[4].layers, ElementsAre(6));
  for (const KvGroup& group : plan.groups) EXPECT_EQ(group.layout.type, KvType::kF16);
}

TEST(KvPlan, CountsBytes) {
  ModelSpec spec;
  spec.layers.assign(30, Layer(3, 64, 64));
  const KvPlan plan = PlanKv(spec, KvType::kBF16);
  // 30 layers x 3 heads x (64 + 64) values x 2 bytes; a layout may pad.
  EXPECT_GE(plan.bytes_per_token(), 30 * 3 * 128 * 2);
  EXPECT_LE(plan.bytes_per_token(), 30 * 3 * 128 * 2 * 3 / 2);
  EXPECT_EQ(plan.bytes_for(0), 0);
  EXPECT_EQ(plan.bytes_for(1), plan.groups[0].block_bytes());
  EXPECT_EQ(plan.bytes_for(64), plan.groups[0].block_bytes());
  EXPECT_EQ(plan.bytes_for(65), 2 * plan.groups[0].block_bytes());
}

TEST(KvPlan, AWindowBoundsItsGroup) {
  ModelSpec spec;
  spec.layers = {Layer(2, 64, 64, 65)};
  const KvPlan plan = PlanKv(spec, KvType::kF32);
  const int64_t block = plan.groups[0].block_bytes();
  EXPECT_EQ(plan.bytes_for(64), block);
  // 65 tokens lie in 2 blocks when they start or end on a border, never in 3: 1 + 64, ..., 64 + 1.
  EXPECT_EQ(plan.bytes_for(100000), 2 * block);
  spec.layers = {Layer(2, 64, 64, 66)};
  EXPECT_EQ(PlanKv(spec, KvType::kF32).bytes_for(100000), 3 * block);
}

TEST(KvPlan, Describe) {
  ModelSpec spec;
  spec.layers = {Layer(2, 64, 64), Layer(2, 64, 64), Layer(2, 64, 64, 128)};
  const std::string text = Describe(PlanKv(spec, KvType::kF16));
  EXPECT_THAT(text, HasSubstr("layers 0-1; 2 heads, key 64, value 64, f16; every token"));
  EXPECT_THAT(text, HasSubstr("layers 2; 2 heads, key 64, value 64, f16; window 128 tokens"));
}

}  // namespace
}  // namespace gannet
