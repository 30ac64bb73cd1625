// Which kind of tile holds a weight.
#pragma once

#include "base/weight.h"
#include "kernels/cpu/matmul_leaves.h"

namespace gannet {

struct TileChoice {
  TileKind kind;
  bool plain;               // none does: rows are dequantized at each use, kind is kF32
  bool turned = false;      // of the transpose
  bool row_scales = false;  // a row's one scale waits for the end of its sum
};
TileChoice ChooseTile(const Weight& weight);
// `plain` where none holds the transpose.
TileChoice ChooseTransposed(const Weight& weight);

}  // namespace gannet
