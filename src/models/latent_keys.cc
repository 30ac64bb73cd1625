#include "models/latent_keys.h"

#include <fmt/format.h>

#include <cmath>

#include "models/expert_keys.h"
#include "models/rope.h"

namespace gannet {

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

LatentAttention ReadGgufLatent(const GgufReader& reader, ModelFrame& frame) {
  ConfigReader& keys = reader.keys;
  LatentAttention attention;
  attention.heads = keys.Required<int64_t>(reader.Key("attention.head_count"));
  attention.query_rank = keys.Find<int64_t>(reader.Key("attention.q_lora_rank"));
  attention.latent_rank = keys.Required<int64_t>(reader.Key("attention.kv_lora_rank"));
  attention.rope_dim = keys.Required<int64_t>(reader.Key("rope.dimension_count"));
  const bool split = keys.Has(reader.Key("attention.key_length_mla"));
  const std::string key_length = reader.Key(split ? "attention.key_length_mla" : "attention.key_length");
  const int64_t key_dim = keys.Required<int64_t>(key_length);
  if (key_dim <= attention.rope_dim) {
    keys.Fail(key_length, fmt::format("is {}, but rope.dimension_count is {}", key_dim, attention.rope_dim));
  }
  attention.nope_dim = key_dim - attention.rope_dim;
  attention.value_dim =
      keys.Required<int64_t>(reader.Key(split ? "attention.value_length_mla" : "attention.value_length"));
  if (split) {
    keys.Expect(reader.Key("attention.key_length"), {attention.latent_rank + attention.rope_dim});
    keys.Expect(reader.Key("attention.value_length"), {attention.latent_rank});
    frame.spec.tensors.kv_up = TensorNames::KvUp::kSplit;
    frame.spec.tensors.names[Slot::kKeyUp] = frame.spec.tensors.names[Slot::kKeyUpT] = "attn_k_b.weight";
    frame.spec.tensors.names[Slot::kValueUp] = "attn_v_b.weight";
  }
  CheckedWidth(keys, reader.Key("attention.head_count"), attention.heads, key_dim + attention.value_dim);
  CheckedWidth(keys, reader.Key("attention.head_count"), attention.heads, attention.latent_rank + attention.rope_dim);
  attention.rope = ReadGgufRope(keys, reader.source, reader.prefix, attention.rope_dim, frame.spec.max_positions,
                                RopePairing::kInterleaved);
  attention.scale = 1 / std::sqrt(static_cast<double>(key_dim));
  // The file's multiplier is 0.1 mscale_all_dim; llama.cpp takes mscale to be the same, so that cos and sin keep their
  // size and the scores grow.
  const std::string multiplier = reader.Key("rope.scaling.yarn_log_multiplier");
  auto* yarn = std::get_if<RopeYarn>(&attention.rope.scaling);
  if (yarn && keys.Has(multiplier)) {
    const double m = keys.Required<double>(multiplier) * std::log(yarn->factor) + 1;
    attention.scale *= m * m;
    yarn->attention_factor = 1;
  }
  attention.latent_norm = frame.norm;
  keys.Ignore({reader.Key("attention.head_count_kv")}, "all heads share the latent");
  return attention;
}

}  // namespace gannet
