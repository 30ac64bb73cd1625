#include "models/registry.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "base/result.h"
#include "models/config_reader.h"

namespace gannet {
namespace {

std::vector<Architecture>& Architectures() {
  static std::vector<Architecture> architectures;
  return architectures;
}

std::string ArchitectureName(const Json& config, Dialect dialect) {
  const bool gguf = dialect == Dialect::kGguf;
  const std::string_view key = gguf ? "general.architecture" : "architectures";
  const Json* value = config.Find(key);
  if (value && !gguf && value->is_array() && value->as_array().size() == 1) value = &value->as_array()[0];
  if (!value || !value->is_string()) {
    throw LoadError("models", fmt::format("{}: key '{}' must name {}", gguf ? "the GGUF metadata" : "config.json", key,
                                          gguf ? "the architecture" : "one architecture"));
  }
  return value->as_string();
}

// A key of a nested object is written with dots; GGUF keys hold dots themselves and are flat.
void ApplyOverride(const std::string& text, Dialect dialect, Json& config) {
  const size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0) {
    throw LoadError("models", fmt::format("--config-override '{}' is not of the form key=value", text));
  }
  std::string_view key = std::string_view(text).substr(0, equals);
  const std::string_view word = std::string_view(text).substr(equals + 1);
  Result<Json> parsed = Json::Parse(word);
  Json value = parsed.ok() ? std::move(parsed).value() : Json(word);

  // Path down to the object that holds the key; rebuilt upwards because Json::Set copies values in.
  std::vector<std::string_view> path;
  while (dialect == Dialect::kHuggingFace) {
    const Json* here = &config;
    for (std::string_view part : path) here = here ? here->Find(part) : nullptr;
    const size_t dot = key.find('.');
    if (dot == std::string_view::npos || (here && here->Find(key))) break;
    path.push_back(key.substr(0, dot));
    key.remove_prefix(dot + 1);
  }
  for (size_t depth = path.size() + 1; depth-- > 0;) {
    const Json* parent = &config;
    for (size_t i = 0; i < depth && parent; ++i) parent = parent->Find(path[i]);
    Json copy = parent ? *parent : Json();
    if (!copy.is_object() && !copy.is_null()) {
      throw LoadError("models", fmt::format("--config-override '{}' goes into something that is no object", text));
    }
    copy.Set(depth == path.size() ? key : path[depth], std::move(value));
    value = std::move(copy);
  }
  config = std::move(value);
}

}  // namespace

RegisterArchitectures::RegisterArchitectures(std::initializer_list<Architecture> architectures) {
  Architectures().insert(Architectures().end(), architectures);
}

ResolvedModel ResolveModel(const ModelSource& source) {
  const std::string file = source.dialect == Dialect::kGguf ? "the GGUF metadata" : "config.json";
  Json config = source.config;
  if (!config.is_object()) {
    throw LoadError("models", fmt::format("{}: a {} where an object is needed", file, config.type_name()));
  }
  ConfigNotes notes;
  for (const std::string& text : source.overrides) {
    ApplyOverride(text, source.dialect, config);
    notes.notices.push_back(fmt::format("--config-override {}", text));
  }
  const std::string name = ArchitectureName(config, source.dialect);
  for (const Architecture& architecture : Architectures()) {
    if (architecture.dialect != source.dialect || architecture.name != name) continue;
    ConfigReader reader(config, file, notes);
    ResolvedModel model;
    model.spec = architecture.resolve(source, reader);
    reader.Finish();
    model.architecture = name;
    model.ignored = std::move(notes.ignored);
    model.notices = std::move(notes.notices);
    return model;
  }
  throw LoadError("models", fmt::format("{}: the architecture '{}' is not served; known are {}", file, name,
                                        fmt::join(KnownArchitectures(source.dialect), ", ")));
}

std::vector<std::string> KnownArchitectures(Dialect dialect) {
  std::vector<std::string> names;
  for (const Architecture& architecture : Architectures()) {
    if (architecture.dialect == dialect) names.emplace_back(architecture.name);
  }
  std::ranges::sort(names);
  return names;
}

}  // namespace gannet
