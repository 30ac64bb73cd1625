// A step of every shape gives the goldens' numbers: nothing at all, prompt rows, generated rows, both, a second chunk.
// Under a sanitizer every area of the workspace is NaN before the step, so that a layer that reads what the step did
// not write shows.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/npy.h"
#include "engine/batch_builder.h"
#include "engine/model.h"
#include "engine/test_goldens.h"
#include "engine/test_logits.h"

namespace gannet {
namespace {

class StepShapes : public testing::TestWithParam<const char*> {
 protected:
  StepShapes()
      : folder_(GoldenFolder(GetParam())),
        goldens_(ReadGoldens(folder_)),
        want_(ReadNpy(folder_ / "logits.npy").values),
        model_(Model::Load(folder_, {.threads = 2, .max_step_rows = 128})),
        cache_(model_->kv_plan(), {.tokens = 512, .running = 2, .step_tokens = 128, .prefix_cache = false}),
        builder_(model_->kv_plan()) {
    for (int64_t which : {2, 3}) {  // 47 and 131 tokens
      golden_.push_back(goldens_[static_cast<size_t>(which)]);
      sequence_.push_back(cache_.Open(golden_.back().ids));
    }
  }

  // A step with the next `rows` tokens of sequence 0, then those of sequence 1; every row's logits against the goldens.
  void Step(int64_t first_rows, int64_t second_rows) {
    builder_.Clear();
    std::vector<int64_t> expected;  // rows of logits.npy
    const int64_t counts[] = {first_rows, second_rows};
    for (size_t s = 0; s < 2; ++s) {
      if (counts[s] == 0) continue;
      const int64_t done = sequence_[s]->length();
      const std::span<const TokenId> tokens(golden_[s].ids.data() + done, static_cast<size_t>(counts[s]));
      ASSERT_TRUE(cache_.Append(*sequence_[s], tokens));
      builder_.Add(*sequence_[s], done, tokens, golden_[s].prompt, WantLogits::kAll);
      for (int64_t row = done; row < done + counts[s]; ++row) expected.push_back(golden_[s].first_row + row);
    }
    const std::span<const float> logits = model_->Forward(builder_.batch(), cache_);
    const size_t vocab = static_cast<size_t>(model_->spec().vocab);
    ASSERT_EQ(logits.size(), expected.size() * vocab);
    for (size_t i = 0; i < logits.size(); ++i) {
      const float want = want_[static_cast<size_t>(expected[i / vocab]) * vocab + i % vocab];
      ASSERT_LT(std::abs(logits[i] - want), 1e-4f) << "row " << i / vocab << " of the step";
    }
    for (size_t s = 0; s < 2; ++s) cache_.Commit(*sequence_[s], sequence_[s]->length());
  }

  std::filesystem::path folder_;
  std::vector<Golden> goldens_;
  std::vector<float> want_;
  std::unique_ptr<Model> model_;
  KvCache cache_;
  BatchBuilder builder_;
  std::vector<Golden> golden_;
  std::vector<std::unique_ptr<KvSequence>> sequence_;
};

TEST_P(StepShapes, GiveTheGoldensNumbers) {
  struct Shape {
    const char* what;
    int64_t first, second;
  };
  for (const Shape& shape : {Shape{"nothing, before anything", 0, 0}, Shape{"prompt rows only", 20, 0},
                             Shape{"a second chunk beside a first", 27, 64}, Shape{"a generated row only", 1, 0},
                             Shape{"a generated row beside a second chunk", 1, 67}, Shape{"generated rows only", 1, 1},
                             Shape{"nothing, after all of this", 0, 0}, Shape{"more generated rows at once", 3, 5}}) {
    SCOPED_TRACE(shape.what);
    Step(shape.first, shape.second);
    if (HasFatalFailure()) return;
  }
  for (auto& sequence : sequence_) cache_.Close(std::move(sequence));
}

// Between them every kind of mixer, feed-forward, gate and window.
INSTANTIATE_TEST_SUITE_P(Models, StepShapes,
                         testing::Values("deepseek-v3-yarn", "glm4-moe-lite-f32", "numpy-latent-shifted",
                                         "mimo-v2-flash-f32", "gpt-oss-yarn", "step3p7-f32", "ernie4-5-moe-biased",
                                         "qwen3-moe-mixed", "numpy-grouped-fused-gate", "deepseek-v32-yarn",
                                         "glm-moe-dsa-mixed"),
                         FolderTestName());

int64_t LaidOut(const Model& model) {
  return std::ranges::count_if(model.matrices(), [](const LoadedMatrix& each) { return each.matrix->owns_memory(); });
}

// The first step of a model forgets what it lays out, the second one keeps it: the same bits, in every format.
TEST(Model, FirstStepKeepsNoWeights) {
  for (const std::filesystem::path& path : TestModels()) {
    SCOPED_TRACE(path.filename());
    const std::filesystem::path file = path / "model.gguf";
    const std::unique_ptr<Model> model =
        Model::Load(std::filesystem::exists(file) ? file : path, {.threads = 2, .max_step_rows = 64});
    const std::vector<TokenId> ids = {1, 5, 9, 2, 7, 3};
    const int64_t at_first = LaidOut(*model);
    const std::vector<float> first = LogitsByChunks(*model, ids, std::ssize(ids), 64);
    EXPECT_EQ(LaidOut(*model), at_first);
    EXPECT_EQ(LogitsByChunks(*model, ids, std::ssize(ids), 64), first);
    EXPECT_GT(LaidOut(*model), at_first);
  }
}

// Prompt rows that see many keys of an int8 cache: the bits that generated rows have in their place, by any chunk.
TEST(Model, ManyKeysOfAnInt8LatentCache) {
  bool any = false;
  for (const Kernels* kernels : AvailableKernels()) {
    if (kernels->expanded_keys > 1100) continue;
    any = true;
    SCOPED_TRACE(kernels->name);
    const std::unique_ptr<Model> model =
        Model::Load(GoldenFolder("glm4-moe-lite-f32"),
                    {.kernels = kernels->name, .threads = 2, .kv_type = KvType::kInt8, .max_step_rows = 128});
    std::vector<TokenId> ids;
    for (int64_t i = 0; i < 1200; ++i) ids.push_back(static_cast<TokenId>((i * i + 7 * i) % model->spec().vocab));
    const std::vector<float> whole = LogitsByChunks(*model, ids, 1200, 128);
    const std::vector<float> odd = LogitsByChunks(*model, ids, 1200, 77);
    const std::vector<float> generated = LogitsByChunks(*model, ids, 1100, 128);
    EXPECT_EQ(std::memcmp(whole.data(), odd.data(), whole.size() * sizeof(float)), 0);
    EXPECT_EQ(std::memcmp(whole.data(), generated.data(), whole.size() * sizeof(float)), 0);
  }
  if (!any) GTEST_SKIP() << "no table of kernels here multiplies bytes fast enough";
}

// Seven experts, of which a token chooses three, in two of three layers with five heads.
TEST(Model, KnowsWhatAStepReads) {
  const std::filesystem::path folder = GoldenFolder("glm4-moe-lite-f32");
  const std::unique_ptr<Model> model = Model::Load(folder, {.threads = 1});
  int64_t of_experts = 0;
  int64_t idle = 0;
  double bytes = 0;
  for (const LoadedMatrix& each : model->matrices()) {
    of_experts += each.per_token == 3.0 / 7.0 ? 1 : 0;
    idle += each.per_token == 0 ? 1 : 0;
    bytes += each.per_token == 0 ? 0 : static_cast<double>(each.matrix->bytes());
  }
  EXPECT_EQ(of_experts, 2 * 7 * 3);
  EXPECT_EQ(idle, 3 * 5);  // keys of the latent, which only prompts expand
  EXPECT_LT(model->bytes_per_step(1), 0.9 * bytes);
  EXPECT_LT(model->bytes_per_step(1), model->bytes_per_step(2));
  EXPECT_NEAR(model->bytes_per_step(100), bytes, 1e-9 * bytes);
  const std::unique_ptr<Model> with_drafts = Model::Load(folder, {.threads = 1, .drafts = true});
  EXPECT_GT(with_drafts->matrices().size(), model->matrices().size());
  EXPECT_EQ(with_drafts->bytes_per_step(1), model->bytes_per_step(1));
  EXPECT_EQ(with_drafts->operations_per_token(), model->operations_per_token());
}

}  // namespace
}  // namespace gannet
