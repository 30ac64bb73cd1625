// Latent attention with experts: DeepSeek-V3 (arXiv 2412.19437), GLM-4.7-Flash, which computes the same, and the two
// with sparse attention, DeepSeek-V3.2 (arXiv 2512.02556) and GLM-5.
#include <fmt/format.h>

#include "models/common_keys.h"
#include "models/expert_keys.h"
#include "models/gguf_keys.h"
#include "models/latent_keys.h"
#include "models/registry.h"

namespace gannet {
namespace {

ModelSpec Resolve(ConfigReader& reader, std::string_view model_type) {
  ModelFrame frame = ReadHfFrame(reader, model_type);
  const LatentAttention attention = ReadLatentAttention(reader, frame);
  ReadDraftCount(reader, frame);
  const DeepseekFfns ffns = ReadDeepseekFfns(reader, frame);
  AddLayers(frame, attention, ffns.layers);
  AddDrafts(frame, attention, ffns.moe);
  return frame.spec;
}

ModelSpec ResolveDeepseekV3(const ModelSource&, ConfigReader& reader) { return Resolve(reader, "deepseek_v3"); }
ModelSpec ResolveGlm4MoeLite(const ModelSource&, ConfigReader& reader) { return Resolve(reader, "glm4_moe_lite"); }
ModelSpec ResolveDeepseek2Gguf(const ModelSource& source, ConfigReader& keys) {
  const GgufReader reader{keys, source, "deepseek2.", /*tied=*/false};
  ModelFrame frame = ReadGgufFrame(reader);
  const LatentAttention attention = ReadGgufLatent(reader, frame);
  // Files of before expert_gating_func: DeepSeek-V2 has a softmax, and no correction.
  const bool corrected =
      reader.HasTensor(fmt::format("blk.{}.exp_probs_b.bias", frame.layer_count - 1), /*without_file=*/true);
  const auto scoring = corrected ? RouterSpec::Scoring::kSigmoid : RouterSpec::Scoring::kSoftmax;
  MoeFfn moe = ReadGgufExperts(reader, scoring, frame);
  moe.router.correction_bias = corrected;
  AddLayers(frame, attention, ReadGgufFfns(reader, frame, moe));
  AddDrafts(frame, attention, moe);
  return frame.spec;
}

const RegisterArchitectures kRegistered{{Dialect::kHuggingFace, "DeepseekV3ForCausalLM", ResolveDeepseekV3},
                                        {Dialect::kHuggingFace, "Glm4MoeLiteForCausalLM", ResolveGlm4MoeLite},
                                        {Dialect::kGguf, "deepseek2", ResolveDeepseek2Gguf}};

}  // namespace
}  // namespace gannet
