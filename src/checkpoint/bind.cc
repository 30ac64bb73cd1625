#include "checkpoint/bind.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <optional>

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

// Without outer dimensions of one, which may be lost or added on the way into a file.
std::vector<int64_t> Squeezed(std::vector<int64_t> shape) {
  while (shape.size() > 1 && shape[0] == 1) shape.erase(shape.begin());
  return shape;
}

BoundTensor ViewOf(const PlannedTensor& planned, const Weight& whole, const std::string& where) {
  const StorageInfo& info = InfoOf(whole.storage);
  BoundTensor bound{whole, false};
  Weight& weight = bound.weight;
  weight.rows = planned.rows;
  weight.cols = planned.cols;
  const bool whole_rows = planned.col_step == 1 && planned.cols == whole.cols && planned.row_step == planned.cols;
  if (whole_rows) {
    weight.data += planned.offset / whole.cols * whole.row_bytes;
    return bound;
  }
  if (info.block_values == 1) {
    weight.data += planned.offset * info.block_bytes;
    weight.row_bytes = planned.row_step * info.block_bytes;
    weight.col_bytes = planned.col_step == 1 ? 0 : planned.col_step * info.block_bytes;
    return bound;
  }
  // Columns of whole blocks.
  if (planned.col_step == 1 && planned.row_step == whole.cols && planned.offset % whole.cols % info.block_values == 0 &&
      planned.cols % info.block_values == 0) {
    weight.data += planned.offset / whole.cols * whole.row_bytes +
                   planned.offset % whole.cols / info.block_values * info.block_bytes;
    return bound;
  }
  if (planned.row_step == 1 && planned.col_step == whole.cols && planned.rows == whole.cols) {
    std::swap(weight.rows, weight.cols);
    weight.data += planned.offset / whole.cols * whole.row_bytes;
    bound.transposed = true;
    return bound;
  }
  throw LoadError("checkpoint", fmt::format("{}: tensor {} is {}, whose blocks of {} do not fall on the parts that the "
                                            "model reads from it",
                                            where, planned.name, info.name, info.block_values));
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

// Of draft heads that are not run nothing is needed; of those that are, only the copies are not.
std::vector<TensorNames::Unused> UnusedOf(const ModelSpec& spec) {
  std::vector<TensorNames::Unused> unused = spec.tensors.unused;
  const TensorNames::Drafts& drafts = spec.tensors.drafts;
  for (const std::string& owned : drafts.owned) {
    if (spec.drafts.empty()) {
      unused.push_back({owned, "a draft head (MTP), not run"});
      continue;
    }
    for (const std::string& copy : drafts.copies) {
      unused.push_back({owned + copy, "a draft head's copy of what the model has"});
    }
  }
  return unused;
}

}  // namespace

const BoundTensor* BoundTensors::Find(int layer, Slot slot, int index) const {
  const auto found = weights_.find({layer, slot, index});
  return found == weights_.end() ? nullptr : &found->second;
}

const BoundTensor& BoundTensors::Get(int layer, Slot slot, int index) const {
  const BoundTensor* bound = Find(layer, slot, index);
  GANNET_ASSERT(bound, "a layer asks only for tensors its spec plans");
  return *bound;
}

BoundTensors Bind(const ModelSpec& spec, const std::vector<PlannedTensor>& plan, const Checkpoint& checkpoint,
                  const std::vector<PlannedTensor>& part) {
  BoundTensors bound;
  std::vector<std::string> missing;
  std::map<std::string_view, std::optional<Weight>> used;  // each tensor of the file once; without a weight: missing
  const std::string where = checkpoint.path().string();
  for (const PlannedTensor& planned : plan) {
    const auto [place, first] = used.try_emplace(planned.name);
    std::optional<Weight>& whole = place->second;
    if (first) {
      const StoredTensor* stored = checkpoint.Find(planned.name);
      if (!stored) {
        missing.push_back(planned.name);
        continue;
      }
      if (Squeezed(stored->shape) != Squeezed(planned.shape)) {
        throw LoadError("checkpoint",
                        fmt::format("{}: tensor {} has shape [{}], but the configuration makes it [{}]", where,
                                    planned.name, fmt::join(stored->shape, ", "), fmt::join(planned.shape, ", ")));
      }
      whole = checkpoint.WeightOf(*stored);
    }
  }
  for (const PlannedTensor& planned : part.empty() ? plan : part) {
    const std::optional<Weight>& whole = used.at(planned.name);
    if (!whole) continue;
    bound.weights_.emplace(std::tuple{planned.layer, planned.slot, planned.index}, ViewOf(planned, *whole, where));
  }
  if (!missing.empty()) {
    throw LoadError("checkpoint",
                    fmt::format("{}: {} of {} tensors that the configuration needs {} missing: {}", where,
                                missing.size(), used.size(), missing.size() == 1 ? "is" : "are", FewNames(missing)));
  }

  std::vector<std::string> left_over;
  size_t inverse_frequencies = 0;
  const std::vector<TensorNames::Unused> known_unused = UnusedOf(spec);
  std::vector<size_t> unused(known_unused.size(), 0);
  for (const auto& [name, stored] : checkpoint.tensors()) {
    if (used.contains(name)) continue;
    const std::string& found = name;  // clang 14: a lambda captures no structured binding
    const auto known =
        std::ranges::find_if(known_unused, [&](const TensorNames::Unused& u) { return found.starts_with(u.prefix); });
    if (known != known_unused.end()) {
      ++unused[static_cast<size_t>(known - known_unused.begin())];
      continue;
    }
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
  for (size_t i = 0; i < unused.size(); ++i) {
    if (unused[i] == 0) continue;
    const TensorNames::Unused& known = known_unused[i];
    bound.notices_.push_back(fmt::format("{} tensors {}*: {}", unused[i], known.prefix, known.reason));
  }
  return bound;
}

}  // namespace gannet
