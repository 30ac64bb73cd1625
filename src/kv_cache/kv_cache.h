// The paged cache as the scheduler sees it: in tokens. It hides groups, blocks, windows, sharing and eviction.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "kv_cache/block_pool.h"
#include "kv_cache/kv_plan.h"
#include "kv_cache/prefix_tree.h"

namespace gannet {

// The claim of one request. Made by KvCache::Open, given back with KvCache::Close.
class KvSequence {
 public:
  int64_t length() const { return static_cast<int64_t>(tokens_.size()); }  // tokens with a place in the cache
  // Block of positions [64 i, 64 i + 64) in one group; -1 where it left the window.
  std::span<const int32_t> blocks(size_t group) const { return tables_[group]; }

 private:
  friend class KvCache;
  std::vector<int32_t> tokens_;
  std::vector<std::vector<int32_t>> tables_;  // [groups][ceil(length / 64)]
  int64_t shared_tokens_ = 0;                 // only these may be found or left in the prefix tree
  PrefixTree::Node* tip_ = nullptr;           // the deepest node this sequence follows
  int64_t tip_blocks_ = 0;                    // depth of tip_
};

struct KvCacheOptions {
  int64_t tokens = 0;         // kept in groups without a window; rounded up to whole blocks
  int64_t running = 1;        // sequences that decode together: what a window group must hold
  int64_t step_tokens = 512;  // most tokens appended to a sequence in a step
  bool prefix_cache = true;
};

// Blocks a group needs under these options, and the bytes of all groups: what the memory plan says before the load.
int64_t BlocksOf(const KvGroup& group, const KvCacheOptions& options);
int64_t CacheBytes(const KvPlan& plan, const KvCacheOptions& options);

class KvCache {
 public:
  // Throws LoadError("kv_cache", ...) when the memory cannot be had.
  KvCache(const KvPlan& plan, const KvCacheOptions& options);

  static constexpr int64_t kAll = int64_t{1} << 60;

  const KvPlan& plan() const { return plan_; }
  const KvCacheOptions& options() const { return options_; }
  int64_t id() const { return id_; }  // of every cache another, from 1
  KvPages Pages(size_t group, size_t layer_in_group) const { return pools_[group].Pages(layer_in_group); }

  // Whether a sequence of `prompt` tokens could be appended whole now, were it alone in asking. Counts what its
  // cached prefix saves. `shared_tokens`: as for Open.
  bool CanAdmit(std::span<const int32_t> prompt, int64_t shared_tokens = kAll) const;
  // A new sequence that holds the longest cached prefix of `prompt`, at most prompt.size() - 1 tokens of it. Tokens
  // from `shared_tokens` on are neither looked up nor left for others: their rows depend on more than the tokens before
  // them.
  std::unique_ptr<KvSequence> Open(std::span<const int32_t> prompt, int64_t shared_tokens = kAll);
  // Gives places to more tokens; the caller then computes them. False, with nothing changed, when there is no room.
  bool Append(KvSequence& sequence, std::span<const int32_t> tokens);
  // All of the sequence's first `length` tokens are computed and final: full blocks become findable, and blocks that
  // no later row looks at are given back.
  void Commit(KvSequence& sequence, int64_t length);
  // Takes the last n tokens back; they must not be committed.
  void Rollback(KvSequence& sequence, int64_t n);
  void Close(std::unique_ptr<KvSequence> sequence);

  int64_t blocks_total() const;
  int64_t blocks_free() const;  // free, or held by the prefix tree alone
  int64_t capacity_tokens() const { return capacity_tokens_; }

 private:
  bool IsWindow(size_t group) const { return plan_.groups[group].window.has_value(); }
  int64_t Room(size_t group) const;
  int32_t TakeBlock(size_t group);
  // The deepest usable node for these tokens and its depth in blocks.
  std::pair<PrefixTree::Node*, int64_t> Match(std::span<const int32_t> prompt, int64_t shared_tokens) const;
  void DropLeftWindow(KvSequence& sequence, int64_t length);

  KvPlan plan_;
  KvCacheOptions options_;
  int64_t id_;
  bool prefix_cache_;
  int64_t capacity_tokens_;
  std::vector<BlockPool> pools_;
  std::unique_ptr<PrefixTree> tree_;
};

}  // namespace gannet
