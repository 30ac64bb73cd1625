// Cuts a matrix product into tiles and tasks; the loops inside come from the instruction set's leaves.
#pragma once

#include "kernels/cpu/matmul_leaves.h"
#include "kernels/matmul.h"

namespace gannet {

void RunMatmul(std::span<const MatmulArgs> jobs, ThreadPool& pool, const Int8Leaves& int8, const FloatLeaves& floats);

}  // namespace gannet
