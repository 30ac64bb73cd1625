// Latent attention with experts: DeepSeek-V3 (arXiv 2412.19437) and GLM-4.7-Flash, which computes the same.
#include <cmath>

#include "models/architectures.h"
#include "models/common_keys.h"
#include "models/expert_keys.h"
#include "models/rope.h"

namespace gannet {
namespace {

LatentAttention ReadLatentAttention(ConfigReader& reader, const ModelFrame& frame) {
  LatentAttention attention;
  attention.heads = reader.Required<int64_t>("num_attention_heads");
  attention.query_rank = reader.Find<int64_t>("q_lora_rank");
  attention.latent_rank = reader.Required<int64_t>("kv_lora_rank");
  attention.nope_dim = reader.Required<int64_t>("qk_nope_head_dim");
  attention.rope_dim = reader.Required<int64_t>("qk_rope_head_dim");
  attention.value_dim = reader.Required<int64_t>("v_head_dim");
  reader.Expect("qk_head_dim", {attention.nope_dim + attention.rope_dim});
  CheckedWidth(reader, "num_attention_heads", attention.heads, attention.nope_dim + attention.value_dim);
  CheckedWidth(reader, "num_attention_heads", attention.heads, attention.latent_rank + attention.rope_dim);
  const bool interleaved = reader.Optional<bool>("rope_interleave", true);
  attention.rope = ReadHfRope(
      reader, attention.rope_dim, frame.spec.max_positions,
      {.pairing = interleaved ? RopePairing::kInterleaved : RopePairing::kHalves, .factorless_is_unscaled = true});
  attention.scale =
      YarnScoreFactor(reader, attention.rope) / std::sqrt(static_cast<double>(attention.nope_dim + attention.rope_dim));
  attention.latent_norm.epsilon = reader.Optional<double>("latent_norm_eps", frame.norm.epsilon);
  const bool biased = reader.Optional<bool>("attention_bias", false);
  attention.biases = {.q_a = biased && attention.query_rank, .kv_a = biased, .o = biased};
  attention.gate = ReadGate(reader, attention.biases.o);
  reader.Ignore({"num_key_value_heads"}, "all heads share the latent");
  reader.Ignore({"head_dim"}, "qk_nope_head_dim, qk_rope_head_dim and v_head_dim say it");
  return attention;
}

ModelSpec Resolve(ConfigReader& reader, std::string_view model_type) {
  ModelFrame frame = ReadHfFrame(reader, model_type);
  const LatentAttention attention = ReadLatentAttention(reader, frame);
  ReadDraftLayers(reader, frame);
  reader.Ignore({"quantization_config"}, "every tensor's own type counts");
  for (const Ffn& ffn : ReadDeepseekFfns(reader, frame)) {
    frame.spec.layers.push_back({attention, ffn, PreNormResidual{}, frame.norm});
  }
  return frame.spec;
}

}  // namespace

ModelSpec ResolveDeepseekV3(const ModelSource&, ConfigReader& reader) { return Resolve(reader, "deepseek_v3"); }
ModelSpec ResolveGlm4MoeLite(const ModelSource&, ConfigReader& reader) { return Resolve(reader, "glm4_moe_lite"); }

}  // namespace gannet
