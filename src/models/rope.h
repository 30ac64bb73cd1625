// Rotary position embedding as configurations spell it.
#pragma once

#include <optional>

#include "models/config_reader.h"
#include "models/registry.h"
#include "spec/layer_spec.h"

namespace gannet {

struct HfRopeOptions {
  RopePairing pairing = RopePairing::kHalves;
  bool partial = false;  // the architecture rotates int(head_dim * partial_rotary_factor) dims; else the factor is 1
  double default_partial = 1;
  double default_theta = 10000;
  bool factorless_is_unscaled = false;  // a rope_scaling without `factor` scales nothing, whatever its type
  std::optional<double> theta = {};     // already known; rope_theta is not read
  std::string_view layer_type = {};     // whose object is read where rope_parameters hold one for each layer type
  bool scaled = true;                   // false: an object for all layer types is not for this one
};
// Both Hugging Face dialects: rope_theta beside rope_scaling {type or rope_type, ...}, and transformers 5's
// rope_parameters {rope_theta, rope_type, ...}. Types default, linear, llama3, yarn. `max_positions` stands in for an
// absent original_max_position_embeddings.
RopeSpec ReadHfRope(ConfigReader& reader, int64_t head_dim, int64_t max_positions, const HfRopeOptions& options);

// What YaRN multiplies the scores of latent attention with (DeepSeek-V2, arXiv 2405.04434, its published code): the
// square of 0.1 mscale_all_dim ln(factor) + 1; 1 without YaRN or mscale_all_dim.
double YarnScoreFactor(ConfigReader& reader, const RopeSpec& rope);

// <prefix>rope.*: freq_base, dimension_count (of head_dim), scaling.*; rope_freqs.weight gives explicit divisors.
RopeSpec ReadGgufRope(ConfigReader& reader, const ModelSource& source, const std::string& prefix, int64_t head_dim,
                      int64_t max_positions, RopePairing pairing);

// YaRN's factor on cos and sin (arXiv 2309.00071, and DeepSeek's mscale pair): 0.1 m ln(factor) + 1, or the ratio of
// two of them when both mscales are given and not 0.
double YarnAttentionFactor(double factor, double mscale, double mscale_all_dim);

}  // namespace gannet
