// Memory a step needs between its operations: a pure function of the spec, maxima over the layers.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "layers/workspace.h"
#include "spec/layer_spec.h"

namespace gannet {

struct WorkspacePlan {
  std::array<int64_t, kAreas> widths{};  // floats per row of a step, or per token of a piece (IsOfPiece)
  int64_t chosen_keys = 0;               // positions per row, of sparse attention
  int64_t logits = 0;                    // floats per sampled row: the vocabulary

  int64_t& operator[](Area area) { return widths[static_cast<size_t>(area)]; }
  int64_t operator[](Area area) const { return widths[static_cast<size_t>(area)]; }
  int64_t floats_per_row() const;
  // Floats of one area for a step of at most `rows` rows.
  int64_t floats(Area area, int64_t rows) const;
  // Bytes of a step of at most `rows` rows, `logit_rows` of them sampled.
  int64_t bytes(int64_t rows, int64_t logit_rows) const;
};
WorkspacePlan PlanWorkspace(const ModelSpec& spec, int ranks = 1);
std::string Describe(const WorkspacePlan& plan);  // one line, ended

}  // namespace gannet
