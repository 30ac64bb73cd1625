// Every configuration of tests/configs against its golden plans, and against figures published for the model.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>

#include "base/json.h"
#include "base/mapped_file.h"
#include "layers/plan_text.h"
#include "models/registry.h"

namespace gannet {
namespace {

namespace fs = std::filesystem;

const fs::path kConfigs = fs::path(GANNET_SOURCE_DIR) / "tests" / "configs";

ModelSource SourceOf(const fs::path& config) {
  Result<Json> json = Json::Parse(ReadTextFile(config));
  EXPECT_TRUE(json.ok()) << config;
  ModelSource source;
  source.config = std::move(json).value();
  source.dialect = source.config.Find("general.architecture") ? Dialect::kGguf : Dialect::kHuggingFace;
  return source;
}

PlanTexts PlansOf(const fs::path& config) {
  const ModelSource source = SourceOf(config);
  return DescribePlans(ResolveModel(source).spec,
                       source.dialect == Dialect::kGguf ? NameStyle::kGguf : NameStyle::kHuggingFace);
}

void ExpectGolden(const fs::path& golden, const std::string& text) {
  ASSERT_TRUE(fs::exists(golden)) << golden << " is missing";
  EXPECT_EQ(ReadTextFile(golden), text) << "If the change is meant: gannet inspect " << golden.parent_path().string()
                                        << "/config.json --plans " << golden.parent_path().string();
}

TEST(Plans, EqualTheirGoldens) {
  int models = 0;
  int sharded = 0;
  for (const fs::directory_entry& entry : fs::directory_iterator(kConfigs)) {
    if (!entry.is_directory()) continue;
    ++models;
    SCOPED_TRACE(entry.path().filename().string());
    const PlanTexts plans = PlansOf(entry.path() / "config.json");
    ExpectGolden(entry.path() / "spec.txt", plans.spec);
    ExpectGolden(entry.path() / "kv.txt", plans.kv);
    ExpectGolden(entry.path() / "tensors.txt", plans.tensors);
    if (fs::exists(entry.path() / "shards.txt")) {
      ++sharded;
      ExpectGolden(entry.path() / "shards.txt", plans.shards);
    }
  }
  EXPECT_GE(models, 6);
  EXPECT_GE(sharded, 3);
}

TEST(Plans, EveryArchitectureHasAGolden) {
  std::map<std::string, int> seen;
  for (const fs::directory_entry& entry : fs::directory_iterator(kConfigs)) {
    if (entry.is_directory()) ++seen[ResolveModel(SourceOf(entry.path() / "config.json")).architecture];
  }
  for (const Dialect dialect : {Dialect::kHuggingFace, Dialect::kGguf}) {
    for (const std::string& name : KnownArchitectures(dialect)) {
      EXPECT_GT(seen[name], 0) << "no folder of tests/configs has architecture " << name;
    }
  }
}

// Parameter counts as the models' cards give them.
TEST(Plans, CountTheParametersOfTheRealModels) {
  const std::map<std::string, std::string> counts{
      {"llama-3.1-8b", " 8030261248 parameters"},    {"qwen3-8b", " 8190735360 parameters"},
      {"qwen3-0.6b-gguf", " 596049920 parameters"},  {"gpt-oss-20b", " 20914757184 parameters"},
      {"gpt-oss-120b", " 116829156672 parameters"},  {"smollm2-135m", " 134515008 parameters"},
      {"smollm2-135m-gguf", " 134515008 parameters"}};
  for (const auto& [model, count] : counts) {
    EXPECT_NE(PlansOf(kConfigs / model / "config.json").tensors.find(count), std::string::npos) << model;
  }
}

}  // namespace
}  // namespace gannet
