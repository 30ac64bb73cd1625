// Keys that the architectures of GGUF metadata spell the same way, each under "<architecture>." ("llama.").
// Facts: llama.cpp's gguf-py/gguf/constants.py and its readers.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "models/common_keys.h"
#include "models/config_reader.h"
#include "models/registry.h"
#include "models/rope.h"
#include "spec/layer_spec.h"

namespace gannet {

struct GgufReader {
  ConfigReader& keys;
  const ModelSource& source;
  std::string prefix;  // with its dot
  // Some things are said by a tensor's presence alone: what to take for lm_head and biases when there is no file.
  bool tied = true;
  bool biased = false;

  std::string Key(std::string_view name) const { return prefix + std::string(name); }
  bool HasTensor(std::string_view name, bool without_file = false) const {
    return source.has_tensor ? source.has_tensor(name) : without_file;
  }
};

// Everything around the layers. block_count counts draft heads (nextn_predict_layers) too.
ModelFrame ReadGgufFrame(const GgufReader& reader);
// Attention of every layer, RoPE included; biases by the presence of their tensors.
GroupedAttention ReadGgufGrouped(const GgufReader& reader, const ModelFrame& frame, RopePairing pairing);
DenseFfn ReadGgufDenseFfn(const GgufReader& reader);
// expert_*; `scoring` when expert_gating_func does not say it. Sets stacked experts in `frame`.
MoeFfn ReadGgufExperts(const GgufReader& reader, RouterSpec::Scoring scoring, ModelFrame& frame);
// leading_dense_block_count layers of one kind, then the other.
std::vector<Ffn> ReadGgufFfns(const GgufReader& reader, const ModelFrame& frame, const MoeFfn& moe);

// A dense decoder.
struct GgufDenseOptions {
  RopePairing pairing = RopePairing::kHalves;
  bool qk_norm = false;
};
ModelSpec ReadGgufDense(const GgufReader& reader, const GgufDenseOptions& options);

}  // namespace gannet
