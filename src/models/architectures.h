// One function for each architecture and dialect; registry.cc lists them by name.
#pragma once

#include "models/config_reader.h"
#include "models/registry.h"
#include "spec/layer_spec.h"

namespace gannet {

ModelSpec ResolveLlama(const ModelSource& source, ConfigReader& reader);
ModelSpec ResolveLlamaGguf(const ModelSource& source, ConfigReader& reader);
ModelSpec ResolveQwen3(const ModelSource& source, ConfigReader& reader);
ModelSpec ResolveQwen3Moe(const ModelSource& source, ConfigReader& reader);
ModelSpec ResolveQwen3Gguf(const ModelSource& source, ConfigReader& reader);
ModelSpec ResolveQwen3MoeGguf(const ModelSource& source, ConfigReader& reader);
ModelSpec ResolveDeepseekV3(const ModelSource& source, ConfigReader& reader);
ModelSpec ResolveGlm4MoeLite(const ModelSource& source, ConfigReader& reader);
ModelSpec ResolveDeepseek2Gguf(const ModelSource& source, ConfigReader& reader);
ModelSpec ResolveGlm4Moe(const ModelSource& source, ConfigReader& reader);
ModelSpec ResolveGlm4MoeGguf(const ModelSource& source, ConfigReader& reader);
ModelSpec ResolveGptOss(const ModelSource& source, ConfigReader& reader);
ModelSpec ResolveGptOssGguf(const ModelSource& source, ConfigReader& reader);
ModelSpec ResolveMimoV2Flash(const ModelSource& source, ConfigReader& reader);
ModelSpec ResolveStep3p5(const ModelSource& source, ConfigReader& reader);
ModelSpec ResolveStep3p7(const ModelSource& source, ConfigReader& reader);
ModelSpec ResolveErnie45Moe(const ModelSource& source, ConfigReader& reader);

}  // namespace gannet
