// Latent attention as configurations spell it.
#pragma once

#include "models/common_keys.h"
#include "models/config_reader.h"
#include "models/gguf_keys.h"
#include "spec/layer_spec.h"

namespace gannet {

// Attention of every layer, RoPE and gate included.
LatentAttention ReadLatentAttention(ConfigReader& reader, const ModelFrame& frame);
// The same from GGUF. Newer files keep the up-projection of keys transposed and apart from that of values, and say
// key_length of the cache's rows and key_length_mla of the heads; older ones keep both in one tensor, as Hugging Face
// does. Says in `frame` which.
LatentAttention ReadGgufLatent(const GgufReader& reader, ModelFrame& frame);

}  // namespace gannet
