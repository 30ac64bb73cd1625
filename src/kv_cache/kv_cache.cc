#include "kv_cache/kv_cache.h"

#include <algorithm>
#include <atomic>

#include "base/result.h"

namespace gannet {
namespace {

int64_t NextId() {
  static std::atomic<int64_t> id{0};
  return ++id;
}

int64_t BlocksFor(int64_t tokens) { return (tokens + kBlockTokens - 1) / kBlockTokens; }

// First position that a row at `length` or later can see through a window.
int64_t WindowBegin(int64_t window, int64_t length) { return std::max<int64_t>(0, length - window + 1); }

}  // namespace

int64_t BlocksOf(const KvGroup& group, const KvCacheOptions& options) {
  const int64_t all = BlocksFor(options.tokens);
  if (!group.window) return all;
  // Every running sequence keeps its window, the tokens of one step, and the partial blocks at both ends; as much
  // again lets finished prefixes be found.
  const int64_t each = BlocksFor(*group.window) + BlocksFor(options.step_tokens) + 2;
  return std::min(all + options.running, 2 * each * options.running);
}

int64_t CacheBytes(const KvPlan& plan, const KvCacheOptions& options) {
  int64_t bytes = 0;
  for (const KvGroup& group : plan.groups) bytes += BlocksOf(group, options) * group.block_bytes();
  return bytes;
}

KvCache::KvCache(const KvPlan& plan, const KvCacheOptions& options)
    : plan_(plan),
      options_(options),
      id_(NextId()),
      prefix_cache_(options.prefix_cache),
      capacity_tokens_(BlocksFor(options.tokens) * kBlockTokens) {
  pools_.reserve(plan.groups.size());
  for (const KvGroup& group : plan.groups) {
    pools_.emplace_back(group, static_cast<int32_t>(BlocksOf(group, options)));
  }
  tree_ = std::make_unique<PrefixTree>(pools_);
}

int64_t KvCache::Room(size_t group) const { return pools_[group].free() + tree_->Evictable(group, IsWindow(group)); }

int32_t KvCache::TakeBlock(size_t group) {
  int32_t block = pools_[group].Take();
  while (block < 0 && tree_->Evict(group, IsWindow(group))) block = pools_[group].Take();
  return block;
}

std::pair<PrefixTree::Node*, int64_t> KvCache::Match(std::span<const int32_t> prompt, int64_t shared_tokens) const {
  PrefixTree::Node* node = tree_->root();
  std::vector<PrefixTree::Node*> path;
  if (prefix_cache_) {
    const int64_t most = std::min(static_cast<int64_t>(prompt.size()) - 1, shared_tokens) / kBlockTokens;
    while (static_cast<int64_t>(path.size()) < most) {
      node = tree_->Find(node, prompt.subspan(path.size() * kBlockTokens, kBlockTokens));
      if (!node) break;
      path.push_back(node);
    }
  }
  // The next row must find every block its windows reach.
  for (int64_t depth = static_cast<int64_t>(path.size()); depth > 0; --depth) {
    bool usable = true;
    for (size_t group = 0; group < pools_.size(); ++group) {
      const std::optional<int64_t> window = plan_.groups[group].window;
      const int64_t first = window ? WindowBegin(*window, depth * kBlockTokens) / kBlockTokens : 0;
      for (int64_t i = first; i < depth; ++i) usable &= path[static_cast<size_t>(i)]->blocks[group] >= 0;
    }
    if (usable) return {path[static_cast<size_t>(depth - 1)], depth};
  }
  return {tree_->root(), 0};
}

bool KvCache::CanAdmit(std::span<const int32_t> prompt, int64_t shared_tokens) const {
  const auto [node, depth] = Match(prompt, shared_tokens);
  const int64_t needed = BlocksFor(static_cast<int64_t>(prompt.size()) + 1) - depth;
  for (size_t group = 0; group < pools_.size(); ++group) {
    const std::optional<int64_t> window = plan_.groups[group].window;
    const int64_t first = window ? WindowBegin(*window, depth * kBlockTokens) / kBlockTokens : 0;
    int64_t pinned = 0;  // blocks that could be evicted now, but not once the sequence holds them
    const PrefixTree::Node* n = node;
    for (int64_t i = depth - 1; i >= first; --i, n = n->parent) {
      pinned += window ? pools_[group].references(n->blocks[group]) == 1 : n->users == 0;
    }
    const int64_t wanted = window ? std::min(needed, BlocksFor(*window) + 2) : needed;
    if (Room(group) - pinned < wanted) return false;
  }
  return true;
}

std::unique_ptr<KvSequence> KvCache::Open(std::span<const int32_t> prompt, int64_t shared_tokens) {
  auto sequence = std::make_unique<KvSequence>();
  sequence->shared_tokens_ = shared_tokens;
  const auto [node, depth] = Match(prompt, shared_tokens);
  tree_->Acquire(node);
  sequence->tip_ = node;
  sequence->tip_blocks_ = depth;
  sequence->tokens_.assign(prompt.begin(), prompt.begin() + depth * kBlockTokens);
  sequence->tables_.assign(pools_.size(), std::vector<int32_t>(static_cast<size_t>(depth), -1));
  int64_t i = depth;
  for (const PrefixTree::Node* n = node; n != tree_->root(); n = n->parent) {
    --i;
    for (size_t group = 0; group < pools_.size(); ++group) {
      const int32_t block = n->blocks[group];
      if (block < 0) continue;
      pools_[group].AddReference(block);
      sequence->tables_[group][static_cast<size_t>(i)] = block;
    }
  }
  DropLeftWindow(*sequence, depth * kBlockTokens);
  return sequence;
}

bool KvCache::Append(KvSequence& sequence, std::span<const int32_t> tokens) {
  const size_t before = sequence.tables_.empty() ? 0 : sequence.tables_[0].size();
  const size_t after = static_cast<size_t>(BlocksFor(sequence.length() + static_cast<int64_t>(tokens.size())));
  bool room = true;
  for (size_t group = 0; group < pools_.size() && room; ++group) {
    while (room && sequence.tables_[group].size() < after) {
      const int32_t block = TakeBlock(group);
      room = block >= 0;
      if (room) sequence.tables_[group].push_back(block);
    }
  }
  if (!room) {
    for (size_t group = 0; group < pools_.size(); ++group) {
      std::vector<int32_t>& table = sequence.tables_[group];
      for (; table.size() > before; table.pop_back()) pools_[group].DropReference(table.back());
    }
    return false;
  }
  sequence.tokens_.insert(sequence.tokens_.end(), tokens.begin(), tokens.end());
  return true;
}

void KvCache::Commit(KvSequence& sequence, int64_t length) {
  GANNET_ASSERT(length <= sequence.length(), "more tokens are committed than were appended");
  if (prefix_cache_) {
    const std::span<const int32_t> tokens = sequence.tokens_;
    std::vector<int32_t> blocks(pools_.size());
    while ((sequence.tip_blocks_ + 1) * kBlockTokens <= std::min(length, sequence.shared_tokens_)) {
      const size_t i = static_cast<size_t>(sequence.tip_blocks_);
      for (size_t group = 0; group < pools_.size(); ++group) blocks[group] = sequence.tables_[group][i];
      PrefixTree::Node* node = tree_->Insert(sequence.tip_, tokens.subspan(i * kBlockTokens, kBlockTokens), blocks);
      tree_->Acquire(node);
      tree_->Release(sequence.tip_);
      sequence.tip_ = node;
      ++sequence.tip_blocks_;
    }
  }
  DropLeftWindow(sequence, length);
}

void KvCache::DropLeftWindow(KvSequence& sequence, int64_t length) {
  for (size_t group = 0; group < pools_.size(); ++group) {
    if (!IsWindow(group)) continue;
    int64_t i = WindowBegin(*plan_.groups[group].window, length) / kBlockTokens;
    std::vector<int32_t>& table = sequence.tables_[group];
    for (i = std::min(i, static_cast<int64_t>(table.size())) - 1; i >= 0; --i) {
      int32_t& block = table[static_cast<size_t>(i)];
      if (block < 0) break;  // everything before left earlier
      pools_[group].DropReference(block);
      block = -1;
    }
  }
}

void KvCache::Rollback(KvSequence& sequence, int64_t n) {
  const int64_t length = sequence.length() - n;
  GANNET_ASSERT(length >= sequence.tip_blocks_ * kBlockTokens, "a committed token is rolled back");
  sequence.tokens_.resize(static_cast<size_t>(length));
  for (size_t group = 0; group < pools_.size(); ++group) {
    std::vector<int32_t>& table = sequence.tables_[group];
    for (; static_cast<int64_t>(table.size()) > BlocksFor(length); table.pop_back()) {
      if (table.back() >= 0) pools_[group].DropReference(table.back());
    }
  }
}

void KvCache::Close(std::unique_ptr<KvSequence> sequence) {
  for (size_t group = 0; group < pools_.size(); ++group) {
    for (const int32_t block : sequence->tables_[group]) {
      if (block >= 0) pools_[group].DropReference(block);
    }
  }
  tree_->Release(sequence->tip_);
}

int64_t KvCache::blocks_total() const {
  int64_t total = 0;
  for (const BlockPool& pool : pools_) total += pool.total();
  return total;
}

int64_t KvCache::blocks_free() const {
  int64_t free = 0;
  for (size_t group = 0; group < pools_.size(); ++group) free += Room(group);
  return free;
}

}  // namespace gannet
