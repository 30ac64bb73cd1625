#include "kv_cache/prefix_tree.h"

#include <xxhash.h>

#include <algorithm>

#include "base/result.h"

namespace gannet {
namespace {

uint64_t KeyOf(const PrefixTree::Node* parent, std::span<const int32_t> tokens) {
  return XXH3_64bits_withSeed(tokens.data(), tokens.size_bytes(), parent->key);
}

}  // namespace

PrefixTree::~PrefixTree() {
  for (auto& [key, node] : nodes_) {
    for (size_t group = 0; group < node->blocks.size(); ++group) {
      if (node->blocks[group] >= 0) pools_[group].DropReference(node->blocks[group]);
    }
  }
}

PrefixTree::Node* PrefixTree::Find(Node* parent, std::span<const int32_t> tokens) const {
  const auto [first, last] = nodes_.equal_range(KeyOf(parent, tokens));
  for (auto it = first; it != last; ++it) {
    Node* node = it->second.get();
    if (node->parent == parent && std::ranges::equal(node->tokens, tokens)) return node;
  }
  return nullptr;
}

PrefixTree::Node* PrefixTree::Insert(Node* parent, std::span<const int32_t> tokens, std::span<const int32_t> blocks) {
  Node* node = Find(parent, tokens);
  if (!node) {
    auto made = std::make_unique<Node>();
    node = made.get();
    node->parent = parent;
    node->key = KeyOf(parent, tokens);
    node->tokens.assign(tokens.begin(), tokens.end());
    node->blocks.assign(blocks.size(), -1);
    node->last_use = ++clock_;
    if (parent->users == 0 && parent->children == 0) idle_leaves_.erase({parent->last_use, parent});
    ++parent->children;
    idle_leaves_.insert({node->last_use, node});
    ++idle_nodes_;
    nodes_.emplace(node->key, std::move(made));
  }
  for (size_t group = 0; group < blocks.size(); ++group) {
    if (node->blocks[group] >= 0 || blocks[group] < 0) continue;
    node->blocks[group] = blocks[group];
    pools_[group].AddReference(blocks[group]);
  }
  return node;
}

void PrefixTree::Acquire(Node* node) {
  const uint64_t now = ++clock_;
  for (; node != &root_; node = node->parent) {
    if (node->users++ == 0) {
      --idle_nodes_;
      if (node->children == 0) idle_leaves_.erase({node->last_use, node});
    }
    node->last_use = now;
  }
}

void PrefixTree::Release(Node* node) {
  const uint64_t now = ++clock_;
  for (; node != &root_; node = node->parent) {
    GANNET_ASSERT(node->users > 0, "a prefix is released more often than it was acquired");
    node->last_use = now;
    if (--node->users == 0) {
      ++idle_nodes_;
      if (node->children == 0) idle_leaves_.insert({node->last_use, node});
    }
  }
}

void PrefixTree::Remove(Node* leaf) {
  idle_leaves_.erase({leaf->last_use, leaf});
  --idle_nodes_;
  for (size_t group = 0; group < leaf->blocks.size(); ++group) {
    if (leaf->blocks[group] >= 0) pools_[group].DropReference(leaf->blocks[group]);
  }
  Node* parent = leaf->parent;
  if (--parent->children == 0 && parent != &root_ && parent->users == 0) {
    idle_leaves_.insert({parent->last_use, parent});
  }
  const auto [first, last] = nodes_.equal_range(leaf->key);
  nodes_.erase(std::find_if(first, last, [&](const auto& entry) { return entry.second.get() == leaf; }));
}

bool PrefixTree::Evict(size_t group, bool is_window) {
  if (!is_window) {
    if (idle_leaves_.empty()) return false;
    Remove(idle_leaves_.begin()->second);
    return true;
  }
  std::vector<Node*> unread;
  for (const auto& [key, node] : nodes_) {
    const int32_t block = node->blocks[group];
    if (block >= 0 && pools_[group].references(block) == 1) unread.push_back(node.get());
  }
  if (unread.empty()) return false;
  std::ranges::sort(unread, {}, &Node::last_use);
  unread.resize((unread.size() + 7) / 8);  // several at once, so that the search above is paid for rarely
  for (Node* node : unread) {
    pools_[group].DropReference(node->blocks[group]);
    node->blocks[group] = -1;
  }
  return true;
}

int64_t PrefixTree::Evictable(size_t group, bool is_window) const {
  if (!is_window) return idle_nodes_;
  return std::ranges::count_if(nodes_, [&](const auto& entry) {
    const int32_t block = entry.second->blocks[group];
    return block >= 0 && pools_[group].references(block) == 1;
  });
}

}  // namespace gannet
