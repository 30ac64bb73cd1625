// What will be allocated, said before it is.
#pragma once

#include "engine/engine.h"
#include "engine/model.h"
#include "kv_cache/kv_cache.h"

namespace gannet {

// The cache that fits: options.cache_tokens if given (LoadError when the memory limit forbids it), else what
// max_running full contexts need, bounded by half of the memory left. LoadError when not even one context block fits.
KvCacheOptions PlanCache(const Model& model, const EngineOptions& options);

}  // namespace gannet
