// Llama (arXiv 2302.13971, 2407.21783) and what is built like it: SmolLM2.
#include <fmt/format.h>

#include "models/architectures.h"
#include "models/common_keys.h"
#include "models/rope.h"

namespace gannet {

ModelSpec ResolveLlama(const ModelSource&, ConfigReader& reader) {
  ModelFrame frame = ReadHfFrame(reader, "llama");
  const int64_t heads = reader.Required<int64_t>("num_attention_heads");
  const int64_t kv_heads = reader.Optional<int64_t>("num_key_value_heads", heads);
  const int64_t head_dim = HfHeadDim(reader, frame.spec.hidden, heads);
  GroupedAttention attention = HfGroupedAttention(reader, heads, kv_heads, head_dim);
  attention.rope = ReadHfRope(reader, head_dim, frame.spec.max_positions, {});
  const bool biased = reader.Optional<bool>("attention_bias", false);
  attention.biases = {.q = biased, .k = biased, .v = biased, .o = biased};
  const DenseFfn ffn = ReadHfDenseFfn(reader, reader.Optional<bool>("mlp_bias", false));

  reader.Ignore({"pretraining_tp"}, "how training split the matrices; their product is the same");
  reader.Expect("is_llama_config", {true});
  reader.Expect("rope_interleaved", {false});
  frame.spec.layers.assign(static_cast<size_t>(frame.layer_count),
                           LayerSpec{attention, ffn, PreNormResidual{}, frame.norm});
  return frame.spec;
}

// GGUF files hold the rows of q and k permuted, so that dims 2i and 2i + 1 turn together (llama.cpp,
// convert_hf_to_gguf.py, LlamaModel.permute).
ModelSpec ResolveLlamaGguf(const ModelSource& source, ConfigReader& reader) {
  return ReadGgufDense(reader, source, "llama.", {.pairing = RopePairing::kInterleaved, .qk_norm = false});
}

}  // namespace gannet
