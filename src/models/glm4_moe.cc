// GLM-4.5 to 4.7 (arXiv 2508.06471): grouped attention with partly rotated heads, experts as DeepSeek-V3 routes them.
#include "models/architectures.h"
#include "models/common_keys.h"
#include "models/expert_keys.h"
#include "models/rope.h"

namespace gannet {

ModelSpec ResolveGlm4Moe(const ModelSource&, ConfigReader& reader) {
  ModelFrame frame = ReadHfFrame(reader, "glm4_moe");
  const int64_t heads = reader.Required<int64_t>("num_attention_heads");
  const int64_t head_dim = HfHeadDim(reader, frame.spec.hidden, heads);
  GroupedAttention attention =
      HfGroupedAttention(reader, heads, reader.Required<int64_t>("num_key_value_heads"), head_dim);
  attention.rope = ReadHfRope(reader, head_dim, frame.spec.max_positions, {.partial = true, .default_partial = 0.5});
  const bool biased = reader.Optional<bool>("attention_bias", false);
  attention.biases = {.q = biased, .k = biased, .v = biased};
  if (reader.Optional<bool>("use_qk_norm", false)) attention.qk_norm = frame.norm;
  attention.gate = ReadGate(reader, attention.biases.o);
  ReadDraftLayers(reader, frame);
  for (const Ffn& ffn : ReadDeepseekFfns(reader, frame.layer_count)) {
    frame.spec.layers.push_back({attention, ffn, PreNormResidual{}, frame.norm});
  }
  return frame.spec;
}

}  // namespace gannet
