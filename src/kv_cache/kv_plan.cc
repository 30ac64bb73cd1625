#include "kv_cache/kv_plan.h"

#include <fmt/format.h>

#include <algorithm>

#include "spec/describe.h"
#include "spec/visit.h"

namespace gannet {
namespace {

bool SameLayout(const KvLayout& a, const KvLayout& b) {
  return a.kv_heads == b.kv_heads && a.key_dim == b.key_dim && a.value_dim == b.value_dim && a.type == b.type &&
         a.latent == b.latent;
}

std::string Words(const KvLayout& layout, KvRole role) {
  if (role == KvRole::kIndex) return fmt::format("index key {}", layout.key_dim);
  if (layout.latent) {
    return fmt::format("latent {} and rotated key {}", layout.value_dim, layout.key_dim - layout.value_dim);
  }
  return fmt::format("{} heads, key {}, value {}", layout.kv_heads, layout.key_dim, layout.value_dim);
}

}  // namespace

KvPlan PlanKv(const ModelSpec& spec, KvType type) {
  KvPlan plan;
  const auto add = [&plan](int layer, KvRole role, const KvLayout& layout, std::optional<int64_t> window) {
    for (KvGroup& group : plan.groups) {
      if (group.role == role && SameLayout(group.layout, layout) && group.window == window) {
        group.layers.push_back(layer);
        return;
      }
    }
    plan.groups.push_back({role, layout, window, {layer}});
  };
  for (int layer = 0; layer < spec.all_layers(); ++layer) {
    std::visit(
        Overloaded{
            [&](const GroupedAttention& mixer) {
              add(layer, KvRole::kAttention, {mixer.kv_heads, mixer.key_dim, mixer.value_dim, type}, mixer.window);
            },
            [&](const LatentAttention& mixer) {
              const int64_t row = mixer.latent_rank + mixer.rope_dim;
              add(layer, KvRole::kAttention, {1, row, mixer.latent_rank, type, /*latent=*/true}, std::nullopt);
              if (!mixer.sparse || !mixer.sparse->indexer) return;
              add(layer, KvRole::kIndex, {1, mixer.sparse->indexer->dim, 0, type, /*latent=*/true}, std::nullopt);
            }},
        spec.layer(layer).mixer);
  }
  return plan;
}

std::optional<KvPlan::Place> KvPlan::Find(int layer, KvRole role) const {
  for (size_t group = 0; group < groups.size(); ++group) {
    if (groups[group].role != role) continue;
    const std::vector<int>& layers = groups[group].layers;
    const auto found = std::ranges::find(layers, layer);
    if (found != layers.end()) return Place{group, static_cast<size_t>(found - layers.begin())};
  }
  return std::nullopt;
}

int64_t KvPlan::bytes_per_token() const {
  int64_t bytes = 0;
  for (const KvGroup& group : groups) bytes += group.block_bytes();
  return (bytes + kBlockTokens - 1) / kBlockTokens;
}

int64_t KvPlan::bytes_for(int64_t tokens) const {
  int64_t bytes = 0;
  for (const KvGroup& group : groups) {
    int64_t blocks = (tokens + kBlockTokens - 1) / kBlockTokens;
    // A window of w tokens touches at most ceil((w - 1) / 64) + 1 blocks.
    if (group.window) blocks = std::min(blocks, (*group.window - 1 + kBlockTokens - 1) / kBlockTokens + 1);
    bytes += blocks * group.block_bytes();
  }
  return bytes;
}

std::string Describe(const KvPlan& plan) {
  std::string text = fmt::format("{} bytes per token in blocks of {} tokens\n", plan.bytes_per_token(), kBlockTokens);
  for (size_t i = 0; i < plan.groups.size(); ++i) {
    const KvGroup& group = plan.groups[i];
    text += fmt::format("group {}: layers {}; {}, {}; {}; {} bytes per token\n", i, DescribeIndices(group.layers),
                        Words(group.layout, group.role), NameOf(group.layout.type),
                        group.window ? fmt::format("window {} tokens", *group.window) : "every token",
                        group.block_bytes() / kBlockTokens);
  }
  return text;
}

}  // namespace gannet
