#include "checkpoint/bind.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <optional>

#include "base/result.h"
#include "checkpoint/file_checks.h"

namespace gannet {
namespace {

// Without outer dimensions of one, which may be lost or added on the way into a file.
std::vector<int64_t> Squeezed(std::vector<int64_t> shape) {
  while (shape.size() > 1 && shape[0] == 1) shape.erase(shape.begin());
  return shape;
}

// A planned view of [.., A, B] as one of the same tensor that lies as [.., B, A].
PlannedTensor Turned(PlannedTensor planned) {
  if (planned.shape.size() < 2) return planned;
  const int64_t a = planned.shape[planned.shape.size() - 2];
  const int64_t b = planned.shape.back();
  const auto turn = [&](int64_t at) { return at / (a * b) * (a * b) + at % b * a + at / b % a; };
  planned.offset = turn(planned.offset);
  planned.row_step = turn(planned.row_step);
  planned.col_step = turn(planned.col_step);
  std::swap(planned.shape[planned.shape.size() - 2], planned.shape.back());
  return planned;
}

BoundTensor ViewOf(const PlannedTensor& planned, const Weight& whole, const std::string& where) {
  const StorageInfo& info = InfoOf(whole.storage);
  BoundTensor bound{whole, false};
  Weight& weight = bound.weight;
  weight.rows = planned.rows;
  weight.cols = planned.cols;
  if (info.block_values == 1 && !whole.scales) {
    weight.data += planned.offset * info.block_bytes;
    weight.row_bytes = planned.row_step * info.block_bytes;
    weight.col_bytes = planned.col_step == 1 ? 0 : planned.col_step * info.block_bytes;
    return bound;
  }
  // Whole blocks of rows in equal distances, or all of them turned.
  const bool turned = planned.row_step == 1 && planned.col_step % whole.cols == 0 && planned.rows == whole.cols;
  const int64_t step = turned ? planned.col_step : planned.rows == 1 ? whole.cols : planned.row_step;
  const int64_t column = planned.offset % whole.cols;
  const int64_t columns = turned ? planned.rows : planned.cols;
  if ((planned.col_step == 1 || turned) && step % whole.cols == 0 && column % info.block_values == 0 &&
      columns % info.block_values == 0 && column + columns <= whole.cols) {
    if (turned) std::swap(weight.rows, weight.cols);
    bound.transposed = turned;
    weight.first_row = planned.offset / whole.cols;
    weight.row_stride = step / whole.cols;
    weight.first_col = column;
    if (!info.across) {
      weight.data += weight.first_row * whole.row_bytes + column / info.block_values * info.block_bytes;
      weight.row_bytes = whole.row_bytes * weight.row_stride;
    }
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
  bound.notices_ = checkpoint.notices();
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
      whole = checkpoint.WeightOf(*stored);
      const std::vector<int64_t> shape = stored->transposed ? Turned(planned).shape : planned.shape;
      if (Squeezed(stored->shape) != Squeezed(shape)) {
        throw LoadError("checkpoint",
                        fmt::format("{}: tensor {}{} has shape [{}], but the configuration makes it [{}]", where,
                                    planned.name, stored->scales ? fmt::format(" ({})", stored->dtype) : "",
                                    fmt::join(stored->shape, ", "), fmt::join(shape, ", ")));
      }
    }
  }
  for (const PlannedTensor& planned : part.empty() ? plan : part) {
    const std::optional<Weight>& whole = used.at(planned.name);
    if (!whole) continue;
    const bool turned = checkpoint.Find(planned.name)->transposed;
    bound.weights_.emplace(std::tuple{planned.layer, planned.slot, planned.index},
                           ViewOf(turned ? Turned(planned) : planned, *whole, where));
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
