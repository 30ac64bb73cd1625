// Cuts a matrix product into tiles and tasks; the loops inside come from the instruction set's leaves.
#pragma once

#include "kernels/cpu/matmul_leaves.h"
#include "kernels/matmul.h"

namespace gannet {

struct MatmulLeaves {
  const Int8Leaves& int8;
  const FloatLeaves& floats;
  const Bf16Leaves* bf16;  // null: none
  // gate[i] = activation(gate[i]) * up[i].
  void (*activate)(const ActivationSpec& activation, float* gate, const float* up, int64_t count);
  int tile_rows;      // of x
  int64_t row_bytes;  // of x in one task, to stay in a core's L2
};

void RunMatmul(std::span<const MatmulArgs> jobs, ThreadPool& pool, const MatmulLeaves& leaves);

}  // namespace gannet
