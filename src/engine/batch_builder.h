// Builds the Batch of a step from what was scheduled.
#pragma once

#include <span>

#include "kernels/attention_mask.h"
#include "kv_cache/kv_cache.h"
#include "layers/batch.h"

namespace gannet {

enum class WantLogits { kNone, kLast, kAll };

class BatchBuilder {
 public:
  explicit BatchBuilder(const KvPlan& plan) : plan_(plan) {}

  void Clear();
  // Rows for `tokens` at positions [first, first + tokens.size()) of a sequence that has places for them. The sequence
  // must not change until the step is over. Positions below `prompt_tokens` are prompt, the others generated. No
  // row sees keys behind the last of them (AttentionMask::Cut).
  void Add(const KvSequence& sequence, int64_t first, std::span<const int32_t> tokens, int64_t prompt_tokens,
           WantLogits logits, const AttentionMask& mask = {});
  Batch& batch() { return batch_; }

 private:
  const KvPlan& plan_;
  Batch batch_;
};

}  // namespace gannet
