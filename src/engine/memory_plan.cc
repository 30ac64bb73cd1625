#include "engine/memory_plan.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/result.h"

namespace gannet {

KvCacheOptions PlanCache(const Model& model, const EngineOptions& options) {
  const int64_t context = options.max_context > 0 ? options.max_context : model.spec().max_positions;
  KvCacheOptions cache;
  cache.running = options.max_running;
  cache.step_tokens = std::min<int64_t>(options.max_batch_rows, model.max_step_rows());
  cache.prefix_cache = options.prefix_cache;
  const auto bytes_at = [&](int64_t tokens) {
    cache.tokens = tokens;
    return CacheBytes(model.kv_plan(), cache);
  };
  const int64_t left = model.memory_left_for_cache();
  if (options.cache_tokens > 0) {
    if (bytes_at(options.cache_tokens) > left) {
      throw LoadError("engine", fmt::format("a cache of {} tokens takes {} MB, but {} MB are left after the weights; "
                                            "lower --cache-tokens or raise --memory-limit",
                                            options.cache_tokens, bytes_at(options.cache_tokens) >> 20, left >> 20));
    }
    cache.tokens = options.cache_tokens;
    return cache;
  }
  int64_t low = 0;  // blocks that fit
  int64_t high = (context * options.max_running + kBlockTokens - 1) / kBlockTokens;
  while (low < high) {
    const int64_t middle = (low + high + 1) / 2;
    if (bytes_at(middle * kBlockTokens) <= left / 2) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  if (low == 0) {
    throw LoadError("engine", fmt::format("{} MB are left after the weights, too few for a cache; raise --memory-limit "
                                          "or lower --max-running",
                                          left >> 20));
  }
  cache.tokens = low * kBlockTokens;
  return cache;
}

}  // namespace gannet
