// The goldens of tests/goldens, for the tests of this room.
#pragma once

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/mapped_file.h"
#include "engine/request.h"

namespace gannet {

inline std::filesystem::path GoldenFolder(const char* name) {
  return std::filesystem::path(GANNET_SOURCE_DIR) / "tests" / "goldens" / name;
}

// Tiny models that between them have every float storage, window and rotary embedding this engine serves.
inline std::vector<std::filesystem::path> TestModels() {
  std::vector<std::filesystem::path> models;
  for (const auto& entry : std::filesystem::directory_iterator(GoldenFolder(""))) {
    for (const char* file : {"config.json", "model.gguf"}) {
      if (std::filesystem::exists(entry.path() / file)) models.push_back(entry.path());
    }
  }
  std::ranges::sort(models);
  return models;
}

// The name of a test about a folder: letters and digits alone.
struct FolderTestName {
  template <typename Info>
  std::string operator()(const Info& info) const {
    std::string name = info.param;
    std::ranges::replace(name, '-', '_');
    return name;
  }
};

// What another implementation computed for a prompt and its greedy continuation (tools/goldens/make_models.py).
struct Golden {
  std::vector<TokenId> ids;  // prompt, then generated
  int64_t prompt = 0;
  int64_t first_row = 0;  // in logits.npy
};

inline std::vector<Golden> ReadGoldens(const std::filesystem::path& folder) {
  const Json json = Json::Parse(ReadTextFile(folder / "goldens.json", size_t{1} << 20)).value();
  std::vector<Golden> goldens;
  for (const Json& prompt : json.Find("prompts")->as_array()) {
    Golden golden;
    for (const Json& id : prompt.Find("ids")->as_array()) golden.ids.push_back(static_cast<TokenId>(*id.as_int()));
    golden.prompt = std::ssize(golden.ids);
    for (const Json& id : prompt.Find("greedy")->as_array()) golden.ids.push_back(static_cast<TokenId>(*id.as_int()));
    golden.first_row = *prompt.Find("first_row")->as_int();
    goldens.push_back(std::move(golden));
  }
  return goldens;
}

}  // namespace gannet
