// Which cache a model needs: a pure function of the spec. Layers that keep rows of the same size for the same span of
// tokens form a group and share block tables.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "kernels/attention.h"
#include "spec/layer_spec.h"

namespace gannet {

enum class KvRole {
  kAttention,  // what the layer attends to
  kIndex,      // keys of its indexer, which choose what it attends to
};
struct KvGroup {
  KvRole role = KvRole::kAttention;
  KvLayout layout;
  std::optional<int64_t> window;  // tokens; without it every token is kept
  std::vector<int> layers;        // as ModelSpec::layer counts them, ascending
  // Bytes one block of kBlockTokens tokens takes in all layers of the group.
  int64_t block_bytes() const { return static_cast<int64_t>(layers.size()) * layout.block_bytes(); }
};
struct KvPlan {
  std::vector<KvGroup> groups;
  // Where a layer's rows are: a group and its place in it; nothing when the layer keeps none of this role.
  struct Place {
    size_t group = 0;
    size_t layer_in_group = 0;
  };
  std::optional<Place> Find(int layer, KvRole role) const;
  int64_t bytes_per_token() const;          // of a token inside every window, rounded up
  int64_t bytes_for(int64_t tokens) const;  // of one sequence this long, outside windows forgotten; whole blocks
};
KvPlan PlanKv(const ModelSpec& spec, KvType type);
// One line for the whole and one for each group.
std::string Describe(const KvPlan& plan);

}  // namespace gannet
