#include "spec/sharding.h"

#include <fmt/format.h>

#include "base/result.h"
#include "spec/visit.h"

namespace gannet {
namespace {

class Cutter {
 public:
  Cutter(int layer, const Sharding& sharding) : layer_(layer), sharding_(sharding) {}

  void Cut(int64_t& size, std::string_view what) const {
    if (size % sharding_.ranks != 0) Refuse(size, what);
    size /= sharding_.ranks;
  }
  void Mixer(GroupedAttention& attention) const {
    const int64_t kv = attention.kv_heads;
    if (kv % sharding_.ranks != 0 && sharding_.ranks % kv != 0) Refuse(kv, "KV heads");
    Cut(attention.query_heads, "query heads");
    attention.kv_heads = KvShare(kv, sharding_).count;
    if (sharding_.rank > 0) attention.biases.o = false;
  }
  void Mixer(LatentAttention& attention) const {
    Cut(attention.heads, "heads");
    if (sharding_.rank > 0) attention.biases.o = false;
  }
  void Ffn(DenseFfn& ffn) const { Cut(ffn.width, "columns of the feed-forward"); }
  void Ffn(MoeFfn& ffn) const {
    if (sharding_.experts == Sharding::Experts::kByWidth) {
      Cut(ffn.expert_width, "columns of an expert");
    } else {
      const int64_t experts = ffn.router.experts;
      if (experts % sharding_.ranks != 0) Refuse(experts, "experts");
      const ShardRange held = EqualShare(experts, sharding_);
      ffn.first_held = held.first;
      ffn.held = held.count;
    }
    Cut(ffn.shared_width, "columns of the shared expert");
  }

 private:
  [[noreturn]] void Refuse(int64_t size, std::string_view what) const {
    throw LoadError("spec", fmt::format("layer {} has {} {}, which {} ranks cannot share equally; start another number "
                                        "of processes",
                                        layer_, size, what, sharding_.ranks));
  }

  int layer_;
  const Sharding& sharding_;
};

}  // namespace

ShardRange EqualShare(int64_t all, const Sharding& sharding) {
  GANNET_ASSERT(all % sharding.ranks == 0, "what is cut equally divides");
  return {sharding.rank * (all / sharding.ranks), all / sharding.ranks};
}

ShardRange NearlyEqualShare(int64_t all, const Sharding& sharding) {
  const int64_t first = all * sharding.rank / sharding.ranks;
  return {first, all * (sharding.rank + 1) / sharding.ranks - first};
}

ShardRange KvShare(int64_t kv_heads, const Sharding& sharding) {
  if (kv_heads % sharding.ranks == 0) return EqualShare(kv_heads, sharding);
  return {sharding.rank / (sharding.ranks / kv_heads), 1};
}

ModelSpec ShardSpec(ModelSpec spec, const Sharding& sharding) {
  if (sharding.ranks == 1) return spec;
  for (size_t i = 0; i < spec.layers.size(); ++i) {
    const Cutter cutter(static_cast<int>(i), sharding);
    std::visit([&](auto& mixer) { cutter.Mixer(mixer); }, spec.layers[i].mixer);
    std::visit([&](auto& ffn) { cutter.Ffn(ffn); }, spec.layers[i].ffn);
  }
  if (spec.vocab < sharding.ranks) {
    throw LoadError("spec", fmt::format("{} tokens of vocabulary are fewer than {} ranks", spec.vocab, sharding.ranks));
  }
  return spec;
}

}  // namespace gannet
