// The rows of one step, seen by every layer. Nothing about a step reaches a layer by another way.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/attention.h"

namespace gannet {

// A cache group's view of the rows.
struct BatchGroup {
  std::vector<int64_t> slots;                // [rows] where each row's key and value go
  std::vector<KeySpan> spans;                // [rows] what each row sees
  std::vector<AttentionSequence> sequences;  // block tables belong to the cache
};

// cos and sin of one kind of rotary embedding at the rows' positions, [rows, dims / 2].
struct BatchRope {
  std::vector<float> cos;
  std::vector<float> sin;
};

// Consecutive rows of one request. The first `prompt_rows` of them are prompt tokens, the others were generated: latent
// attention computes the two in different forms, by the row and never by the batch.
struct BatchSequence {
  int64_t row_begin = 0;
  int64_t row_count = 0;
  int64_t prompt_rows = 0;
};

struct Batch {
  std::vector<int32_t> tokens;       // [rows]
  std::vector<int32_t> positions;    // [rows]
  std::vector<int64_t> logits_rows;  // rows whose logits are wanted, ascending
  std::vector<BatchSequence> sequences;
  std::vector<BatchGroup> groups;  // as in KvPlan
  std::vector<BatchRope> ropes;    // as in the model's list of rotary embeddings

  int64_t rows() const { return static_cast<int64_t>(tokens.size()); }
};

}  // namespace gannet
