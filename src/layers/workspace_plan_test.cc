#include "layers/workspace_plan.h"

#include <gtest/gtest.h>

namespace gannet {
namespace {

TEST(WorkspacePlan, TakesTheMaximumOverLayersFieldByField) {
  ModelSpec spec;
  spec.hidden = 48;
  spec.vocab = 1000;
  LayerSpec wide_heads{GroupedAttention{.query_heads = 6, .kv_heads = 1, .key_dim = 10, .value_dim = 20},
                       DenseFfn{.width = 5},
                       PreNormResidual{},
                       {}};
  LayerSpec wide_ffn{GroupedAttention{.query_heads = 4, .kv_heads = 4, .key_dim = 8, .value_dim = 8},
                     DenseFfn{.width = 80},
                     PreNormResidual{},
                     {}};
  spec.layers.push_back(wide_heads);
  spec.layers.push_back(wide_ffn);
  const WorkspacePlan plan = PlanWorkspace(spec);
  EXPECT_EQ(plan[Area::kHidden], 48);
  EXPECT_EQ(plan[Area::kNormed], 48);
  EXPECT_EQ(plan[Area::kQ], 60);
  EXPECT_EQ(plan[Area::kK], 32);
  EXPECT_EQ(plan[Area::kV], 32);
  EXPECT_EQ(plan[Area::kAttention], 120);
  EXPECT_EQ(plan[Area::kFfnInner], 80);
  EXPECT_EQ(plan.logits, 1000);
  EXPECT_EQ(plan.floats_per_row(), 48 + 48 + 60 + 32 + 32 + 120 + 80);
  EXPECT_EQ(plan.bytes(3, 2), 4 * (3 * 420 + 2 * 1000));
}

}  // namespace
}  // namespace gannet
