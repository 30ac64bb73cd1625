#include "checkpoint/bind.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cstring>
#include <set>

#include "base/result.h"

namespace gannet {
namespace {

constexpr size_t kNamesShown = 4;

std::string FewNames(const std::vector<std::string>& names) {
  const size_t shown = std::min(names.size(), kNamesShown);
  std::string text = fmt::format("{}", fmt::join(names.begin(), names.begin() + static_cast<ptrdiff_t>(shown), ", "));
  if (names.size() > shown) text += fmt::format(" and {} more", names.size() - shown);
  return text;
}

// A matrix of one row may have lost its outer dimension on the way into the file.
bool ShapeFits(const PlannedTensor& planned, const std::vector<int64_t>& shape) {
  if (planned.rows == 1 && shape.size() == 1) return shape[0] == planned.cols;
  return !IsVector(planned.slot) && shape == std::vector<int64_t>{planned.rows, planned.cols};
}

std::string WantedShape(const PlannedTensor& planned) {
  return IsVector(planned.slot) ? fmt::format("[{}]", planned.cols)
                                : fmt::format("[{}, {}]", planned.rows, planned.cols);
}

bool SameBytes(const StoredTensor& a, const StoredTensor& b) {
  return a.dtype == b.dtype && a.shape == b.shape && a.data.size() == b.data.size() &&
         (a.data.empty() || std::memcmp(a.data.data(), b.data.data(), a.data.size()) == 0);
}

const PlannedTensor* PlannedAt(const std::vector<PlannedTensor>& plan, Slot slot) {
  for (const PlannedTensor& planned : plan) {
    if (planned.slot == slot && planned.layer == -1) return &planned;
  }
  return nullptr;
}

}  // namespace

const Weight* BoundTensors::Find(int layer, Slot slot) const {
  const auto found = weights_.find({layer, slot});
  return found == weights_.end() ? nullptr : &found->second;
}

const Weight& BoundTensors::Get(int layer, Slot slot) const {
  const Weight* weight = Find(layer, slot);
  GANNET_ASSERT(weight, "a layer asks only for tensors its spec plans");
  return *weight;
}

BoundTensors Bind(const std::vector<PlannedTensor>& plan, const Checkpoint& checkpoint) {
  BoundTensors bound;
  std::vector<std::string> missing;
  std::set<std::string_view> used;
  const std::string where = checkpoint.path().string();
  for (const PlannedTensor& planned : plan) {
    const StoredTensor* stored = checkpoint.Find(planned.name);
    if (!stored) {
      missing.push_back(planned.name);
      continue;
    }
    used.insert(planned.name);
    if (!ShapeFits(planned, stored->shape)) {
      throw LoadError("checkpoint",
                      fmt::format("{}: tensor {} has shape [{}], but the configuration makes it {}", where,
                                  planned.name, fmt::join(stored->shape, ", "), WantedShape(planned)));
    }
    Weight weight = checkpoint.WeightOf(*stored);
    GANNET_ASSERT(weight.rows == planned.rows && weight.cols == planned.cols, "a weight has its tensor's shape");
    bound.weights_.emplace(std::pair{planned.layer, planned.slot}, weight);
  }
  if (!missing.empty()) {
    throw LoadError("checkpoint",
                    fmt::format("{}: {} of {} tensors that the configuration needs {} missing: {}", where,
                                missing.size(), plan.size(), missing.size() == 1 ? "is" : "are", FewNames(missing)));
  }

  std::vector<std::string> left_over;
  size_t inverse_frequencies = 0;
  for (const auto& [name, stored] : checkpoint.tensors()) {
    if (used.contains(name)) continue;
    if (!checkpoint.is_gguf() && name.ends_with(".rotary_emb.inv_freq")) {
      ++inverse_frequencies;
      continue;
    }
    const PlannedTensor* embedding = PlannedAt(plan, Slot::kEmbedding);
    if (!checkpoint.is_gguf() && name == "lm_head.weight" && embedding && !PlannedAt(plan, Slot::kLmHead)) {
      if (!SameBytes(stored, *checkpoint.Find(embedding->name))) {
        throw LoadError("checkpoint",
                        fmt::format("{}: tie_word_embeddings is true, but lm_head.weight differs from {}; set "
                                    "--config-override tie_word_embeddings=false to use it",
                                    where, embedding->name));
      }
      bound.notices_.push_back("lm_head.weight is a copy of the embedding, as the tied configuration says: not used");
      continue;
    }
    left_over.push_back(name);
  }
  if (!left_over.empty()) {
    throw LoadError(
        "checkpoint",
        fmt::format("{}: {} that nothing reads, so the configuration does not "
                    "describe this model: {}",
                    where, left_over.size() == 1 ? "holds a tensor" : fmt::format("holds {} tensors", left_over.size()),
                    FewNames(left_over)));
  }
  if (inverse_frequencies > 0) {
    bound.notices_.push_back(
        fmt::format("{} tensors *.rotary_emb.inv_freq: computed from rope_theta instead", inverse_frequencies));
  }
  return bound;
}

}  // namespace gannet
