#include "checkpoint/module_pattern.h"

#include <gtest/gtest.h>

namespace gannet {
namespace {

constexpr const char* kPatterns[] = {"lm_head", "model.layers.2", "layers.2.mlp", "mlp",    "layers.2.",  "layer",
                                     "*.gate",  "model.layers.?", "re:.*experts", "re:mlp", "re:(broken", "mlp"};
constexpr const char* kModules[] = {"lm_head",
                                    "model.layers.2",
                                    "model.layers.2.mlp",
                                    "model.layers.2.mlp.gate",
                                    "model.layers.22.mlp.experts.0.up_proj",
                                    "layers",
                                    "model",
                                    "mlp"};

// The list says what its patterns say one by one.
TEST(ModulePatterns, TheListEqualsItsEntries) {
  ModulePatterns list;
  std::vector<std::string> idle, broken;
  for (const char* text : kPatterns) list.Add(text);
  for (const char* module : kModules) {
    bool any = false;
    for (const char* text : kPatterns) any = any || ModulePattern(text).Matches(module);
    EXPECT_EQ(list.Match(module), any) << module;
  }
  for (const char* text : kPatterns) {
    const ModulePattern pattern(text);
    bool any = false;
    for (const char* module : kModules) any = any || pattern.Matches(module);
    if (pattern.broken()) {
      broken.push_back(text);
    } else if (!any) {
      idle.push_back(text);
    }
  }
  EXPECT_EQ(list.broken(), broken);
  EXPECT_EQ(list.unmatched(), idle);
  EXPECT_EQ(idle, (std::vector<std::string>{"layers.2.", "layer"}));
  EXPECT_EQ(broken, std::vector<std::string>{"re:(broken"});
}

TEST(ModulePatterns, AnEmptyListMatchesNothing) {
  ModulePatterns list;
  EXPECT_FALSE(list.Match("model.layers.0.mlp"));
  EXPECT_TRUE(list.unmatched().empty());
}

}  // namespace
}  // namespace gannet
