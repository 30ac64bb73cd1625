// GLM-4.5 to 4.7 (arXiv 2508.06471): grouped attention with partly rotated heads, experts as DeepSeek-V3 routes them.
#include "models/common_keys.h"
#include "models/expert_keys.h"
#include "models/gguf_keys.h"
#include "models/grouped_keys.h"
#include "models/registry.h"

namespace gannet {
namespace {

ModelSpec ResolveGlm4Moe(const ModelSource& source, ConfigReader& reader) {
  ModelFrame frame = ReadHfFrame(reader, "glm4_moe");
  const int64_t heads = reader.Required<int64_t>("num_attention_heads");
  const int64_t head_dim = HfHeadDim(reader, frame.spec.hidden, heads);
  GroupedOptions options{
      .full = HfGroupedAttention(reader, heads, reader.Required<int64_t>("num_key_value_heads"), head_dim),
      .rope = HfRopeOptions{.partial = true, .default_partial = 0.5}};
  const bool biased = reader.Optional<bool>("attention_bias", false);
  options.full.biases = {.q = biased, .k = biased, .v = biased};
  if (reader.Optional<bool>("use_qk_norm", false)) options.full.qk_norm = frame.norm;
  ReadDraftCount(reader, frame);
  const std::vector<GroupedAttention> attention = ReadGroupedLayers(reader, source, frame, options);
  const DeepseekFfns ffns = ReadDeepseekFfns(reader, frame);
  AddLayers(frame, attention, ffns.layers);
  AddDrafts(frame, attention.back(), ffns.moe);
  return frame.spec;
}

ModelSpec ResolveGlm4MoeGguf(const ModelSource& source, ConfigReader& keys) {
  const GgufReader reader{keys, source, "glm4moe.", /*tied=*/false, /*biased=*/true};
  ModelFrame frame = ReadGgufFrame(reader);
  GroupedAttention attention = ReadGgufGrouped(reader, frame, RopePairing::kHalves);
  if (reader.HasTensor("blk.0.attn_q_norm.weight")) attention.qk_norm = frame.norm;
  MoeFfn moe = ReadGgufExperts(reader, RouterSpec::Scoring::kSigmoid, frame);
  moe.router.correction_bias = true;
  frame.spec.tensors.names[Slot::kFfnNorm] = "post_attention_norm.weight";
  AddLayers(frame, attention, ReadGgufFfns(reader, frame, moe));
  AddDrafts(frame, attention, moe);
  return frame.spec;
}

const RegisterArchitectures kRegistered{{Dialect::kHuggingFace, "Glm4MoeForCausalLM", ResolveGlm4Moe},
                                        {Dialect::kGguf, "glm4moe", ResolveGlm4MoeGguf}};

}  // namespace
}  // namespace gannet
