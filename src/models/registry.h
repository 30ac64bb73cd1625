// From a configuration (config.json, or a GGUF file's metadata) to a ModelSpec.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "spec/layer_spec.h"

namespace gannet {

enum class Dialect { kHuggingFace, kGguf };

struct ModelSource {
  Dialect dialect = Dialect::kHuggingFace;
  Json config;  // config.json, or the GGUF metadata as one flat object ("llama.block_count": 30, ...), arrays left out
  std::function<bool(std::string_view)> has_tensor;  // GGUF says some things only by a tensor's presence
  int64_t tokenizer_size = 0;          // GGUF: how many tokens tokenizer.ggml.tokens lists; 0 when unknown
  std::vector<std::string> overrides;  // "key=value" of --config-override, value read as JSON or as a word
};

struct ResolvedModel {
  ModelSpec spec;
  std::string architecture;          // for reports only
  std::vector<std::string> ignored;  // "key: why it does not change the maths"
  std::vector<std::string> notices;  // what was assumed
};

class ConfigReader;

// An architecture's file makes one object of this, at namespace scope: the table needs no line elsewhere. `resolve`
// reads every key of the configuration and throws LoadError("models", ...).
struct Architecture {
  Dialect dialect;
  std::string_view name;  // as config.json's "architectures" or "general.architecture" spell it
  ModelSpec (*resolve)(const ModelSource& source, ConfigReader& reader);
};
class RegisterArchitectures {
 public:
  RegisterArchitectures(std::initializer_list<Architecture> architectures);
};

// Throws LoadError("models", ...): an unknown architecture, a missing or ill-typed key, a key nobody reads.
ResolvedModel ResolveModel(const ModelSource& source);
// The architectures known, in order of their names.
std::vector<std::string> KnownArchitectures(Dialect dialect);

}  // namespace gannet
