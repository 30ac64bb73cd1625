// The leaves of table amx: products in tile registers where rows of x are many, those of avx512vnni where they are few,
// with the same bits.
#pragma once

#include "kernels/cpu/matmul_leaves.h"

namespace gannet {

#if defined(__x86_64__)
void AmxTiles(TileKind kind, const std::byte* weights, const RowTiles& x, int64_t blocks, float* sums);
void AmxTilesFp4(TileKind kind, const std::byte* weights, const ScaleRange& scales, const RowTiles& x, int64_t blocks,
                 float* sums);
extern const Bf16Leaves kAmxBf16Leaves;
#endif

}  // namespace gannet
