// Logits of a whole text, for the tests of this room.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <span>
#include <vector>

#include "engine/batch_builder.h"
#include "engine/model.h"
#include "kv_cache/kv_cache.h"

namespace gannet {

// Of every token, by chunks of `chunk` or what the mask makes of them; the first `prompt` tokens are a prompt, the
// others count as generated.
inline std::vector<float> LogitsByChunks(Model& model, const std::vector<TokenId>& ids, int64_t prompt, int64_t chunk,
                                         const AttentionMask& mask = {}) {
  const int64_t count = std::ssize(ids);
  KvCache cache(model.kv_plan(), {.tokens = count, .running = 1, .step_tokens = count, .prefix_cache = false});
  std::unique_ptr<KvSequence> sequence = cache.Open(ids);
  BatchBuilder builder(model.kv_plan());
  std::vector<float> rows;
  for (int64_t first = 0, end = 0; first < count; first = end) {
    end = mask.Cut(first, std::min(first + chunk, count));
    const std::span<const TokenId> tokens(ids.data() + first, static_cast<size_t>(end - first));
    EXPECT_TRUE(cache.Append(*sequence, tokens));
    builder.Clear();
    builder.Add(*sequence, first, tokens, prompt, WantLogits::kAll, mask);
    const std::span<const float> logits = model.Forward(builder.batch(), cache);
    rows.insert(rows.end(), logits.begin(), logits.end());
    cache.Commit(*sequence, end);
  }
  cache.Close(std::move(sequence));
  return rows;
}

}  // namespace gannet
