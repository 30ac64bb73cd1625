#include "engine/model_source.h"

namespace gannet {

ModelSource SourceOf(const Checkpoint& checkpoint, std::vector<std::string> overrides) {
  ModelSource source;
  source.dialect = checkpoint.is_gguf() ? Dialect::kGguf : Dialect::kHuggingFace;
  source.config = checkpoint.config();
  source.has_tensor = [&checkpoint](std::string_view name) { return checkpoint.Find(name) != nullptr; };
  const Json* tokens = checkpoint.metadata().Find("tokenizer.ggml.tokens");
  if (tokens && tokens->is_array()) source.tokenizer_size = static_cast<int64_t>(tokens->as_array().size());
  source.overrides = std::move(overrides);
  return source;
}

}  // namespace gannet
