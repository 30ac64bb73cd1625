#include "checkpoint/shard_plan.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/result.h"
#include "checkpoint/tensor_slots.h"
#include "spec/describe.h"

namespace gannet {
namespace {

enum class Cut {
  kNone,
  kOutputs,        // rows of a matrix, entries of its bias
  kKvOutputs,      // the same by KV heads
  kInputs,         // columns: the products are summed over ranks
  kOfSum,          // a bias of such a sum: rank 0 adds it
  kHeads,          // a weight for each head
  kExpertOutputs,  // by width as kOutputs, or whole experts
  kExpertInputs,
  kExpertOfSum,
  kVocabulary,
};

Cut CutOf(Slot slot) {
  switch (slot) {
    case Slot::kEmbedding:
    case Slot::kLmHead:
    case Slot::kLmHeadBias:
      return Cut::kVocabulary;
    case Slot::kQ:
    case Slot::kQBias:
    case Slot::kQUp:
    case Slot::kSinks:
    case Slot::kGate:
    case Slot::kGateBias:
    case Slot::kFfnGate:
    case Slot::kFfnUp:
    case Slot::kFfnGateBias:
    case Slot::kFfnUpBias:
    case Slot::kSharedGate:
    case Slot::kSharedUp:
    case Slot::kSharedGateBias:
    case Slot::kSharedUpBias:
      return Cut::kOutputs;
    case Slot::kK:
    case Slot::kV:
    case Slot::kKBias:
    case Slot::kVBias:
      return Cut::kKvOutputs;
    case Slot::kO:
    case Slot::kFfnDown:
    case Slot::kSharedDown:
      return Cut::kInputs;
    case Slot::kOBias:
    case Slot::kFfnDownBias:
    case Slot::kSharedDownBias:
      return Cut::kOfSum;
    case Slot::kKeyUp:
    case Slot::kKeyUpT:
    case Slot::kValueUp:
      return Cut::kHeads;
    case Slot::kExpertGate:
    case Slot::kExpertUp:
    case Slot::kExpertGateBias:
    case Slot::kExpertUpBias:
      return Cut::kExpertOutputs;
    case Slot::kExpertDown:
      return Cut::kExpertInputs;
    case Slot::kExpertDownBias:
      return Cut::kExpertOfSum;
    case Slot::kFinalNorm:
    case Slot::kRopeDivisors:
    case Slot::kMixerNorm:
    case Slot::kFfnNorm:
    case Slot::kQNorm:
    case Slot::kKNorm:
    case Slot::kQDown:
    case Slot::kQDownBias:
    case Slot::kQDownNorm:
    case Slot::kKvDown:
    case Slot::kKvDownBias:
    case Slot::kLatentNorm:
    case Slot::kIndexQ:
    case Slot::kIndexK:
    case Slot::kIndexKNorm:
    case Slot::kIndexKNormBias:
    case Slot::kIndexWeights:
    case Slot::kDraftEmbeddingNorm:
    case Slot::kDraftHiddenNorm:
    case Slot::kDraftProjection:
    case Slot::kDraftNorm:
    case Slot::kDraftLmHead:
    case Slot::kRouter:
    case Slot::kRouterBias:
    case Slot::kRouterCorrection:
      return Cut::kNone;
  }
  return Cut::kNone;
}

void CutRows(PlannedTensor& tensor, ShardRange range) {
  tensor.offset += range.first * tensor.row_step;
  tensor.rows = range.count;
}

void CutColumns(PlannedTensor& tensor, ShardRange range) {
  tensor.offset += range.first * tensor.col_step;
  tensor.cols = range.count;
}

// Of a matrix its rows, of a vector its entries.
void CutOutputs(PlannedTensor& tensor, ShardRange range) {
  IsVector(tensor.slot) ? CutColumns(tensor, range) : CutRows(tensor, range);
}

int64_t Outputs(const PlannedTensor& tensor) { return IsVector(tensor.slot) ? tensor.cols : tensor.rows; }

// One of an indexed family of weights stays, under its place among those that stay.
bool Keep(PlannedTensor& tensor, ShardRange range) {
  if (tensor.index < range.first || tensor.index >= range.first + range.count) return false;
  tensor.index -= static_cast<int>(range.first);
  return true;
}

bool CutOne(const ModelSpec& whole, const Sharding& sharding, PlannedTensor& tensor) {
  const auto equal = [&](int64_t all) { return EqualShare(all, sharding); };
  const bool by_expert = sharding.experts == Sharding::Experts::kByExpert;
  Cut cut = CutOf(tensor.slot);
  if (cut == Cut::kExpertOutputs || cut == Cut::kExpertInputs || cut == Cut::kExpertOfSum) {
    if (by_expert) {
      const auto& moe = std::get<MoeFfn>(whole.layer(tensor.layer).ffn);
      return Keep(tensor, equal(moe.router.experts));
    }
    cut = cut == Cut::kExpertOutputs ? Cut::kOutputs : cut == Cut::kExpertInputs ? Cut::kInputs : Cut::kOfSum;
  }
  switch (cut) {
    case Cut::kOutputs:
      CutOutputs(tensor, equal(Outputs(tensor)));
      return true;
    case Cut::kKvOutputs: {
      const int64_t heads = std::get<GroupedAttention>(whole.layer(tensor.layer).mixer).kv_heads;
      const int64_t dim = Outputs(tensor) / heads;
      const ShardRange share = KvShare(heads, sharding);
      CutOutputs(tensor, {share.first * dim, share.count * dim});
      return true;
    }
    case Cut::kInputs:
      CutColumns(tensor, equal(tensor.cols));
      return true;
    case Cut::kOfSum:
      return sharding.rank == 0;
    case Cut::kHeads:
      return Keep(tensor, equal(std::get<LatentAttention>(whole.layer(tensor.layer).mixer).heads));
    case Cut::kVocabulary:
      CutOutputs(tensor, NearlyEqualShare(Outputs(tensor), sharding));
      return true;
    default:
      return true;
  }
}

}  // namespace

std::vector<PlannedTensor> ShardTensors(const ModelSpec& whole, const std::vector<PlannedTensor>& plan,
                                        const Sharding& sharding) {
  std::vector<PlannedTensor> part;
  for (PlannedTensor tensor : plan) {
    if (sharding.ranks == 1 || CutOne(whole, sharding, tensor)) part.push_back(std::move(tensor));
  }
  return part;
}

std::string DescribeShards(const ModelSpec& whole, const std::vector<PlannedTensor>& plan) {
  std::vector<int> shown{-1};  // the first layer of every kind
  std::vector<decltype(LayerRun::parts)> kinds;
  for (const LayerRun& run : LayerRuns(whole)) {
    if (std::ranges::count(kinds, run.parts) > 0) continue;
    kinds.push_back(run.parts);
    shown.push_back(run.first);
  }
  std::string text;
  for (const int ranks : {1, 2, 4, 8}) {
    text += fmt::format("{} rank{}\n", ranks, ranks == 1 ? "" : "s");
    std::vector<std::vector<PlannedTensor>> parts;
    try {
      for (int rank = 0; rank < ranks; ++rank) {
        ShardSpec(whole, {rank, ranks});
        parts.push_back(ShardTensors(whole, plan, {rank, ranks}));
      }
    } catch (const LoadError& error) {
      text += fmt::format("  refused: {}\n", error.what());
      continue;
    }
    for (size_t rank = 0; rank < parts.size(); ++rank) {
      int64_t values = 0;
      for (const PlannedTensor& tensor : parts[rank]) {
        if (tensor.slot != Slot::kKeyUpT) values += tensor.rows * tensor.cols;  // the same values as kKeyUp
      }
      text += fmt::format("  rank {}: {} parameters\n", rank, values);
      if (rank != 0 && rank + 1 != parts.size()) continue;
      for (const PlannedTensor& tensor : parts[rank]) {
        if (tensor.index > 0 || std::ranges::count(shown, tensor.layer) == 0) continue;
        text += fmt::format("    {}{}: [{}, {}] from {} of {}\n",
                            tensor.layer < 0 ? "" : fmt::format("layer {} ", tensor.layer), NameOf(tensor.slot),
                            tensor.rows, tensor.cols, tensor.offset, tensor.name);
      }
    }
  }
  return text;
}

}  // namespace gannet
