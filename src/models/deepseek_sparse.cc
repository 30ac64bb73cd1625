// Latent attention to the keys that an indexer chooses: DeepSeek-V3.2 (arXiv 2512.02556), GLM-5 and GLM-5.2.
#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "models/common_keys.h"
#include "models/expert_keys.h"
#include "models/latent_keys.h"
#include "models/registry.h"

namespace gannet {
namespace {

// Whether each layer has an indexer of its own; the others take the choice of the one before.
std::vector<bool> EveryFrom(int64_t layers, int64_t every, int64_t offset) {
  std::vector<bool> own;
  for (int64_t layer = 0; layer < layers; ++layer) own.push_back(std::max<int64_t>(layer - offset + 1, 0) % every == 0);
  return own;
}

// indexer_types, or index_topk_pattern ("FSS..." or a list), or every index_topk_freq-th layer from
// index_skip_topk_offset - 1 on.
std::vector<bool> ReadOwnIndexers(ConfigReader& reader, const ModelFrame& frame) {
  std::string key = "index_topk_freq";
  const int64_t every = reader.Optional<int64_t>(key, 1);
  const int64_t offset = reader.Optional<int64_t>("index_skip_topk_offset", 2, IntRange{0, kLayerCount.max});
  std::optional<std::vector<std::string>> list;
  if (reader.Has("index_topk_pattern")) {
    key = "index_topk_pattern";
    if (reader.IsList(key)) {
      list = reader.Find<std::vector<std::string>>(key);
    } else {
      list.emplace();
      for (const char letter : reader.Required<std::string>(key)) list->emplace_back(1, letter);
    }
  }
  if (auto named = reader.Find<std::vector<std::string>>("indexer_types")) {
    key = "indexer_types";
    list = std::move(named);
  }
  if (!list) return EveryFrom(frame.layer_count, every, offset);
  std::vector<bool> own;
  for (const std::string& type : ForEachLayer(reader, key, *std::move(list), frame)) {
    const bool full = type == "full" || type == "F";
    if (!full && type != "shared" && type != "S") {
      reader.Fail(key,
                  fmt::format("calls layer {} \"{}\", but only full (F) and shared (S) are served", own.size(), type));
    }
    own.push_back(full);
  }
  return own;
}

// One mixer for every layer.
std::vector<Mixer> SparseMixers(const ConfigReader& reader, std::string_view key, LatentAttention attention,
                                const Indexer& indexer, int64_t top_k, const std::vector<bool>& own) {
  if (!own.front()) reader.Fail(key, "lets the first layer take the choice of a layer before it");
  std::vector<Mixer> mixers;
  for (const bool full : own) {
    attention.sparse = SparseKeys{top_k, full ? std::optional(indexer) : std::nullopt};
    mixers.emplace_back(attention);
  }
  return mixers;
}

struct IndexerKeys {
  std::string_view heads, dim, query_rank, rope_dim;
};
Indexer ReadIndexer(ConfigReader& reader, const IndexerKeys& keys, const LatentAttention& attention) {
  if (!attention.query_rank) reader.Fail(keys.query_rank, "is missing: the indexer reads the query bottleneck");
  Indexer indexer;
  indexer.heads = reader.Required<int64_t>(keys.heads);
  indexer.dim = reader.Required<int64_t>(keys.dim);
  CheckedWidth(reader, keys.heads, indexer.heads, indexer.dim);
  if (indexer.dim < attention.rope_dim) {
    reader.Fail(keys.dim, fmt::format("is {}, but {} is {}", indexer.dim, keys.rope_dim, attention.rope_dim));
  }
  indexer.rope = attention.rope;
  return indexer;
}

std::vector<Mixer> ReadSparseLayers(ConfigReader& reader, const ModelFrame& frame, const LatentAttention& attention,
                                    bool interleaved) {
  Indexer indexer =
      ReadIndexer(reader, {"index_n_heads", "index_head_dim", "q_lora_rank", "qk_rope_head_dim"}, attention);
  indexer.rope.pairing =
      reader.Optional<bool>("indexer_rope_interleave", interleaved) ? RopePairing::kInterleaved : RopePairing::kHalves;
  reader.Expect("index_init_tokens", {0});
  reader.Expect("index_local_tokens", {0});
  reader.Ignore({"index_share_for_mtp_iteration"}, "spares drafts after the first a choice of their own");
  const auto layer_types = reader.Find<std::vector<std::string>>("layer_types");
  for (const std::string& type : layer_types.value_or(std::vector<std::string>{})) {
    if (type == "indexed_attention") continue;
    reader.Fail("layer_types", fmt::format("holds \"{}\", but only indexed_attention is served", type));
  }
  return SparseMixers(reader, "indexer_types", attention, indexer, reader.Required<int64_t>("index_topk", kTokenCount),
                      ReadOwnIndexers(reader, frame));
}

ModelSpec ResolveSparse(ConfigReader& reader, std::string_view model_type, bool interleaved) {
  ModelFrame frame = ReadHfFrame(reader, model_type);
  const LatentAttention attention = ReadLatentAttention(reader, frame);
  ReadDraftCount(reader, frame);
  reader.Expect("mlp_bias", {false});
  const std::vector<Mixer> mixers = ReadSparseLayers(reader, frame, attention, interleaved);
  const DeepseekFfns ffns = ReadDeepseekFfns(reader, frame, /*dense=*/3);
  AddLayers(frame, mixers, ffns.layers);
  AddDrafts(frame, mixers.front(), ffns.moe);  // with an indexer of its own
  return frame.spec;
}

ModelSpec ResolveDeepseekV32(const ModelSource&, ConfigReader& reader) {
  return ResolveSparse(reader, "deepseek_v32", /*interleaved=*/false);
}
ModelSpec ResolveGlmMoeDsa(const ModelSource&, ConfigReader& reader) {
  return ResolveSparse(reader, "glm_moe_dsa", /*interleaved=*/true);
}

// Indexers of GGUF files turn halves in deepseek32 and neighbours in glm-dsa; which layers have their own is a list of
// glm-dsa, and without it a matter of the context: GLM-5 and 5.1 have one everywhere, GLM-5.2 (a million tokens) not.
ModelSpec ResolveSparseGguf(const GgufReader& reader, bool is_glm) {
  ConfigReader& keys = reader.keys;
  ModelFrame frame = ReadGgufFrame(reader);
  const LatentAttention attention = ReadGgufLatent(reader, frame);
  const std::string heads = reader.Key("attention.indexer.head_count"),
                    dim = reader.Key("attention.indexer.key_length");
  const std::string rank = reader.Key("attention.q_lora_rank"), rotated = reader.Key("rope.dimension_count");
  Indexer indexer = ReadIndexer(keys, {heads, dim, rank, rotated}, attention);
  indexer.rope.pairing = is_glm ? RopePairing::kInterleaved : RopePairing::kHalves;
  const int64_t top_k = keys.Required<int64_t>(reader.Key("attention.indexer.top_k"), kTokenCount);
  const std::string types = reader.Key("attention.indexer.types");
  std::vector<bool> own(static_cast<size_t>(frame.layer_count), true);
  if (const auto list = keys.Find<std::vector<int64_t>>(types, IntRange{0, 1})) {
    const std::vector<int64_t> full = ForEachLayer(keys, types, *list, frame);
    own.assign(full.begin(), full.end());
  } else if (is_glm && frame.spec.max_positions >= 1 << 20) {
    keys.Notice(types + " is absent: indexers where GLM-5.2 has them, as llama.cpp does");
    own = EveryFrom(frame.layer_count, 4, 3);
  }
  MoeFfn moe = ReadGgufExperts(reader, RouterSpec::Scoring::kSigmoid, frame);
  moe.router.correction_bias = true;
  const std::vector<Mixer> mixers = SparseMixers(keys, types, attention, indexer, top_k, own);
  AddLayers(frame, mixers, ReadGgufFfns(reader, frame, moe));
  AddDrafts(frame, mixers.front(), moe);
  return frame.spec;
}

ModelSpec ResolveDeepseek32Gguf(const ModelSource& source, ConfigReader& keys) {
  return ResolveSparseGguf({keys, source, "deepseek32.", /*tied=*/false}, /*is_glm=*/false);
}
ModelSpec ResolveGlmDsaGguf(const ModelSource& source, ConfigReader& keys) {
  return ResolveSparseGguf({keys, source, "glm-dsa.", /*tied=*/false}, /*is_glm=*/true);
}

const RegisterArchitectures kRegistered{{Dialect::kHuggingFace, "DeepseekV32ForCausalLM", ResolveDeepseekV32},
                                        {Dialect::kHuggingFace, "GlmMoeDsaForCausalLM", ResolveGlmMoeDsa},
                                        {Dialect::kGguf, "deepseek32", ResolveDeepseek32Gguf},
                                        {Dialect::kGguf, "glm-dsa", ResolveGlmDsaGguf}};

}  // namespace
}  // namespace gannet
