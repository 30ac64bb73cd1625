#include "engine/batch_builder.h"

#include <algorithm>

namespace gannet {

void BatchBuilder::Clear() {
  batch_.tokens.clear();
  batch_.positions.clear();
  batch_.logits_rows.clear();
  batch_.sequences.clear();
  batch_.groups.resize(plan_.groups.size());
  for (BatchGroup& group : batch_.groups) {
    group.slots.clear();
    group.spans.clear();
    group.sequences.clear();
  }
}

void BatchBuilder::Add(const KvSequence& sequence, int64_t first, std::span<const int32_t> tokens,
                       int64_t prompt_tokens, WantLogits logits, const AttentionMask& mask) {
  const int64_t row_begin = batch_.rows();
  const int64_t count = static_cast<int64_t>(tokens.size());
  batch_.tokens.insert(batch_.tokens.end(), tokens.begin(), tokens.end());
  for (int64_t i = 0; i < count; ++i) {
    batch_.positions.push_back(static_cast<int32_t>(first + i));
    if (logits == WantLogits::kAll || (logits == WantLogits::kLast && i == count - 1)) {
      batch_.logits_rows.push_back(row_begin + i);
    }
  }
  batch_.sequences.push_back({row_begin, count, std::clamp<int64_t>(prompt_tokens - first, 0, count)});
  for (size_t g = 0; g < plan_.groups.size(); ++g) {
    BatchGroup& group = batch_.groups[g];
    const std::span<const int32_t> blocks = sequence.blocks(g);
    group.sequences.push_back({row_begin, count, blocks});
    for (int64_t p = first; p < first + count; ++p) {
      const int64_t block = blocks[static_cast<size_t>(p / kBlockTokens)];
      group.slots.push_back(block * kBlockTokens + p % kBlockTokens);
      group.spans.push_back(mask.Seen(p, plan_.groups[g].window));
      GANNET_ASSERT(group.spans.back().end <= first + count, "a row sees a key that this step does not compute");
    }
  }
}

}  // namespace gannet
