// One model cut over several ranks (tensor parallelism, arXiv 1909.08053): attention by heads, feed-forward by width,
// experts by width or whole, the vocabulary by rows. What cannot be cut exactly is refused.
#pragma once

#include <cstdint>
#include <string>

#include "spec/layer_spec.h"

namespace gannet {

struct Sharding {
  enum class Experts { kByWidth, kByExpert };
  int rank = 0;
  int ranks = 1;
  Experts experts = Experts::kByWidth;
};

// What rank `rank` computes. KV heads fewer than ranks are held by several ranks each. Throws LoadError("spec", ...)
// that names the layer and the number which the ranks do not divide.
ModelSpec ShardSpec(ModelSpec spec, const Sharding& sharding);

struct ShardRange {
  int64_t first = 0;
  int64_t count = 0;
};
// Equal shares of `all`, which the ranks divide.
ShardRange EqualShare(int64_t all, const Sharding& sharding);
// Shares of rows that may differ by one: of the vocabulary.
ShardRange NearlyEqualShare(int64_t all, const Sharding& sharding);
// KV heads of a rank: an equal share, or one that several ranks hold.
ShardRange KvShare(int64_t kv_heads, const Sharding& sharding);

}  // namespace gannet
