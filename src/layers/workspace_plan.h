// Memory a step needs between its operations: a pure function of the spec, maxima over the layers.
#pragma once

#include <cstdint>
#include <string>

#include "spec/layer_spec.h"

namespace gannet {

// Floats per row (one token of a step), but `logits`, which only rows that are sampled need.
struct WorkspacePlan {
  int64_t hidden = 0;     // residual stream
  int64_t normed = 0;     // input of a projection
  int64_t q = 0;          // query_heads * key_dim
  int64_t k = 0;          // kv_heads * key_dim
  int64_t v = 0;          // kv_heads * value_dim
  int64_t attention = 0;  // query_heads * value_dim
  int64_t gate = 0;       // ffn width
  int64_t up = 0;         // ffn width
  int64_t logits = 0;     // vocabulary

  int64_t floats_per_row() const { return hidden + normed + q + k + v + attention + gate + up; }
  // Bytes of a step of at most `rows` rows, `logit_rows` of them sampled.
  int64_t bytes(int64_t rows, int64_t logit_rows) const { return 4 * (rows * floats_per_row() + logit_rows * logits); }
};
WorkspacePlan PlanWorkspace(const ModelSpec& spec);
std::string Describe(const WorkspacePlan& plan);  // one line, ended

}  // namespace gannet
