// A tree over full blocks of tokens: what is cached and can be used again. A node is one block's worth of tokens after
// its parent's; it holds one block of every cache group, or -1 in a window group whose block was reclaimed.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include "kv_cache/block_pool.h"

namespace gannet {

class PrefixTree {
 public:
  struct Node {
    Node* parent = nullptr;
    uint64_t key = 0;             // hash of parent and tokens
    std::vector<int32_t> tokens;  // kBlockTokens of them, compared on a hit: a hash alone is not trusted
    std::vector<int32_t> blocks;  // [groups]
    int children = 0;
    int users = 0;  // open sequences whose path ends at or below this node
    uint64_t last_use = 0;
  };

  // `pools` outlive the tree; one for each group.
  explicit PrefixTree(std::vector<BlockPool>& pools) : pools_(pools) {}
  ~PrefixTree();

  Node* root() { return &root_; }
  // The child of `parent` with exactly these tokens, or null.
  Node* Find(Node* parent, std::span<const int32_t> tokens) const;
  // Adds a child that shares `blocks` (taking a reference to each that is >= 0), or gives an existing one the blocks
  // it lacks.
  Node* Insert(Node* parent, std::span<const int32_t> tokens, std::span<const int32_t> blocks);
  // A sequence starts or stops to use a node and all above it.
  void Acquire(Node* node);
  void Release(Node* node);

  // Frees at least one block of `group`, the least recently used first: of a window group, blocks no sequence reads
  // (nodes stay); else leaves no sequence uses. False when there is none.
  bool Evict(size_t group, bool is_window);
  // Blocks of `group` that repeated calls of Evict would free.
  int64_t Evictable(size_t group, bool is_window) const;
  size_t size() const { return nodes_.size(); }

 private:
  void Remove(Node* leaf);

  std::vector<BlockPool>& pools_;
  Node root_;
  std::unordered_multimap<uint64_t, std::unique_ptr<Node>> nodes_;
  std::set<std::pair<uint64_t, Node*>> idle_leaves_;  // by last use
  int64_t idle_nodes_ = 0;                            // with users == 0
  uint64_t clock_ = 0;
};

}  // namespace gannet
