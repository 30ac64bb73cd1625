// Tiny models of every kind of attention under masks that are not causal: prefixes and spans that see all of
// themselves, requests packed in one row of tokens, random monotone masks with rows that see nothing; against numbers
// computed with the dense mask (tools/goldens/make_masks.py), and the same bits by any chunk.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/npy.h"
#include "engine/model.h"
#include "engine/test_goldens.h"
#include "engine/test_logits.h"

namespace gannet {
namespace {

struct MaskGolden {
  std::vector<TokenId> ids;
  AttentionMask mask;
  int64_t first_row = 0;  // in mask_logits.npy
};

std::vector<MaskGolden> ReadMasks(const std::filesystem::path& folder) {
  const std::vector<Golden> prompts = ReadGoldens(folder);
  std::vector<MaskGolden> masks;
  int64_t rows = 0;
  const Json json = Json::Parse(ReadTextFile(folder / "masks.json", size_t{1} << 20)).value();
  for (const Json& item : json.as_array()) {
    const Golden& prompt = prompts[static_cast<size_t>(*item.Find("prompt")->as_int())];
    const int64_t count = prompt.prompt;
    std::vector<uint8_t> dense(static_cast<size_t>(count * count), 0);
    const Json::Array& spans = item.Find("spans")->as_array();
    for (int64_t row = 0; row < count; ++row) {
      const Json::Array& ends = spans[static_cast<size_t>(row)].as_array();
      for (int64_t key = *ends[0].as_int(); key < *ends[1].as_int(); ++key)
        dense[static_cast<size_t>(row * count + key)] = 1;
    }
    masks.push_back(
        {{prompt.ids.begin(), prompt.ids.begin() + count}, AttentionMask::OfDense(dense, count, count).value(), rows});
    rows += count;
  }
  return masks;
}

std::vector<float> LogitsOf(Model& model, const MaskGolden& golden, int64_t chunk) {
  return LogitsByChunks(model, golden.ids, std::ssize(golden.ids), chunk, golden.mask);
}

class Masks : public testing::TestWithParam<const char*> {};

TEST_P(Masks, EqualDenseOnesByAnyChunk) {
  const std::filesystem::path folder = GoldenFolder(GetParam());
  const std::vector<float> want = ReadNpy(folder / "mask_logits.npy").values;
  for (const Kernels* kernels : AvailableKernels()) {
    const auto model = Model::Load(folder, {.kernels = kernels->name, .threads = 2, .max_step_rows = 256});
    const int64_t vocab = model->spec().vocab;
    for (const MaskGolden& golden : ReadMasks(folder)) {
      SCOPED_TRACE(testing::Message() << kernels->name << ", mask of row " << golden.first_row);
      const std::vector<float> whole = LogitsOf(*model, golden, 256);
      ASSERT_EQ(std::ssize(whole), std::ssize(golden.ids) * vocab);
      float worst = 0;
      for (size_t i = 0; i < whole.size(); ++i) {
        worst = std::max(worst, std::abs(whole[i] - want[static_cast<size_t>(golden.first_row * vocab) + i]));
      }
      EXPECT_LT(worst, 1e-4f);
      for (const int64_t chunk : {1, 7, 40}) {
        const std::vector<float> chunked = LogitsOf(*model, golden, chunk);
        EXPECT_EQ(std::memcmp(chunked.data(), whole.data(), whole.size() * sizeof(float)), 0) << "chunk " << chunk;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Models, Masks,
                         testing::Values("llama-f32", "qwen3-sliding", "gpt-oss-yarn", "mimo-v2-flash-f32",
                                         "glm4-moe-lite-f32", "deepseek-v32-yarn"),
                         FolderTestName());

}  // namespace
}  // namespace gannet
