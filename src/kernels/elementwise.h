// Operations on rows that read no weights matrix: norms, RoPE, activations. Each row is computed alone.
#pragma once

#include <cstdint>
#include <span>

#include "spec/layer_spec.h"

namespace gannet {

struct RmsNormArgs {  // out[r, i] = x[r, i] / sqrt(mean_i x[r, i]^2 + epsilon) * weight[i]; out may be x
  const float* x = nullptr;
  int64_t x_stride = 0;
  float* out = nullptr;
  int64_t out_stride = 0;
  int64_t rows = 0;
  int64_t groups = 1;  // independent groups of `dim` values in a row, `dim` apart (heads)
  int64_t dim = 0;
  const float* weight = nullptr;  // [dim], the same for every group
  float epsilon = 1e-6f;
};

struct RopeArgs {      // turns, in place, pair i of every head of row r by the angle whose cos and sin are given
  float* x = nullptr;  // [rows, heads * head_dim]
  int64_t x_stride = 0;
  int64_t rows = 0;
  int64_t heads = 0;
  int64_t head_dim = 0;
  int64_t offset = 0;  // first rotated dim of a head
  int64_t dims = 0;    // rotated dims, even
  RopePairing pairing = RopePairing::kHalves;
  const float* cos = nullptr;  // [rows, dims / 2]
  const float* sin = nullptr;  // [rows, dims / 2]
};

// out[r, i] = activation(gate[r, i / gate_repeat]) * up'[r, i], where up' is up but for the clamped kinds
// (spec/layer_spec.h). out may be gate (with gate_repeat 1) or up.
struct GatedActivationArgs {
  const float* gate = nullptr;
  int64_t gate_stride = 0;
  const float* up = nullptr;
  int64_t up_stride = 0;
  float* out = nullptr;
  int64_t out_stride = 0;
  int64_t rows = 0;
  int64_t width = 0;        // of up and out; a multiple of gate_repeat
  int64_t gate_repeat = 1;  // values of up that share one of gate
  ActivationSpec activation = {};
};

}  // namespace gannet
