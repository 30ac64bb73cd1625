// Llama (arXiv 2302.13971, 2407.21783) and what is built like it: SmolLM2.
#include "models/common_keys.h"
#include "models/gguf_keys.h"
#include "models/grouped_keys.h"
#include "models/registry.h"

namespace gannet {
namespace {

ModelSpec ResolveLlama(const ModelSource& source, ConfigReader& reader) {
  ModelFrame frame = ReadHfFrame(reader, "llama");
  const int64_t heads = reader.Required<int64_t>("num_attention_heads");
  const int64_t kv_heads = reader.Optional<int64_t>("num_key_value_heads", heads);
  const int64_t head_dim = HfHeadDim(reader, frame.spec.hidden, heads);
  GroupedOptions options{.full = HfGroupedAttention(reader, heads, kv_heads, head_dim), .rope = HfRopeOptions{}};
  const bool biased = reader.Optional<bool>("attention_bias", false);
  options.full.biases = {.q = biased, .k = biased, .v = biased, .o = biased};
  const DenseFfn ffn = ReadHfDenseFfn(reader, reader.Optional<bool>("mlp_bias", false));
  reader.Ignore({"pretraining_tp"}, "how training split the matrices; their product is the same");
  reader.Expect("is_llama_config", {true});
  reader.Expect("rope_interleaved", {false});
  AddLayers(frame, ReadGroupedLayers(reader, source, frame, options), ffn);
  return frame.spec;
}

// GGUF files hold the rows of q and k permuted, so that dims 2i and 2i + 1 turn together (llama.cpp,
// convert_hf_to_gguf.py, LlamaModel.permute).
ModelSpec ResolveLlamaGguf(const ModelSource& source, ConfigReader& reader) {
  return ReadGgufDense({reader, source, "llama."}, {.pairing = RopePairing::kInterleaved});
}

const RegisterArchitectures kRegistered{{Dialect::kHuggingFace, "LlamaForCausalLM", ResolveLlama},
                                        {Dialect::kGguf, "llama", ResolveLlamaGguf}};

}  // namespace
}  // namespace gannet
