// Mixture of experts: the rows of the whole step are gathered by expert, so that each expert's weights are read once.
#include <algorithm>
#include <vector>

#include "layers/decoder_layer.h"
#include "layers/router.h"
#include "layers/row_ops.h"

namespace gannet {
namespace {

// Row-expert pairs sorted by expert. Pair p of the sorted order has row rows[p]; the i-th choice of row r is at
// place[r * chosen + i].
struct Assignment {
  std::vector<ChosenExpert> chosen;  // [rows * chosen]
  std::vector<int32_t> rows;
  std::vector<int32_t> place;
  std::vector<int64_t> first;  // [experts + 1]
};

Assignment Assign(const RouterSpec& spec, const MoeFfnWeights& weights, const StepContext& step) {
  const int64_t rows = step.batch.rows();
  const int64_t experts = spec.experts;
  const float* logits = step.buffers[Area::kRouter];
  Assignment all;
  all.chosen.resize(static_cast<size_t>(rows * spec.chosen));
  step.pool.ParallelFor(rows, [&](int64_t row, int) {
    Route(spec, {logits + row * experts, static_cast<size_t>(experts)}, weights.correction,
          {all.chosen.data() + row * spec.chosen, static_cast<size_t>(spec.chosen)});
  });
  all.first.assign(static_cast<size_t>(experts) + 1, 0);
  for (const ChosenExpert& choice : all.chosen) ++all.first[static_cast<size_t>(choice.expert) + 1];
  for (size_t e = 1; e < all.first.size(); ++e) all.first[e] += all.first[e - 1];
  std::vector<int64_t> next(all.first.begin(), all.first.end() - 1);
  all.rows.resize(all.chosen.size());
  all.place.resize(all.chosen.size());
  for (size_t i = 0; i < all.chosen.size(); ++i) {
    const int64_t place = next[static_cast<size_t>(all.chosen[i].expert)]++;
    all.place[i] = static_cast<int32_t>(place);
    all.rows[static_cast<size_t>(place)] = static_cast<int32_t>(static_cast<int64_t>(i) / spec.chosen);
  }
  return all;
}

// Rows that meet the same weights, side by side in `inner` and `out`; of a routed expert those that chose it.
struct Group {
  const DenseFfnWeights& weights;
  const ActivationSpec& activation;
  int64_t width;
  int64_t rows;
  std::span<const int32_t> gather;
  float* inner;
  float* out;
};

// Of every row the products with its experts, [pairs, hidden], and after them those with the shared one, [rows,
// hidden]. One region for all: while one thread waits for an expert's weights another computes with the shared ones.
void Experts(const MoeFfn& spec, const MoeFfnWeights& weights, const StepContext& step, const Assignment& all) {
  float* inner = step.buffers[Area::kExpertInner];
  float* out = step.buffers[Area::kExpertOut];
  const int64_t pairs = static_cast<int64_t>(all.rows.size());
  const int64_t hidden = weights.router.weight->cols();
  const int64_t width = spec.expert_width;
  std::vector<Group> groups;
  if (spec.shared_width > 0) {
    groups.push_back({weights.shared,
                      spec.shared_activation,
                      spec.shared_width,
                      step.batch.rows(),
                      {},
                      inner + pairs * width,
                      out + pairs * hidden});
  }
  for (size_t e = 0; e < weights.experts.size(); ++e) {
    const size_t expert = static_cast<size_t>(spec.first_held) + e;
    const int64_t first = all.first[expert];
    const int64_t count = all.first[expert + 1] - first;
    if (count == 0) continue;
    groups.push_back({weights.experts[e],
                      spec.activation,
                      width,
                      count,
                      {all.rows.data() + first, static_cast<size_t>(count)},
                      inner + first * width,
                      out + first * hidden});
  }
  std::vector<MatmulTarget> targets(groups.size());
  std::vector<MatmulArgs> jobs(groups.size());
  for (size_t i = 0; i < groups.size(); ++i) {
    const Group& group = groups[i];
    targets[i] = group.weights.Inner(group.activation, group.inner, group.width);
    jobs[i] = {step.buffers[Area::kNormed], hidden, group.rows, hidden, {&targets[i], 1}, group.gather};
  }
  step.kernels.matmul(jobs, step.pool);
  for (size_t i = 0; i < groups.size(); ++i) {
    const Group& group = groups[i];
    targets[i] = group.weights.down.To(group.out, hidden);
    jobs[i] = {group.inner, group.width, group.rows, group.width, {&targets[i], 1}, {}};
  }
  step.kernels.matmul(jobs, step.pool);
}

}  // namespace

void FfnForward(const MoeFfn& spec, const MoeFfnWeights& weights, const StepContext& step) {
  const int64_t hidden = weights.router.weight->cols();
  const int64_t chosen = spec.router.chosen;
  const MatmulTarget router[] = {weights.router.To(step.buffers[Area::kRouter], spec.router.experts)};
  Multiply(step, step.buffers[Area::kNormed], hidden, router);
  const Assignment all = Assign(spec.router, weights, step);
  Experts(spec, weights, step, all);

  // A row adds its experts in the order of its own choices, then the shared one.
  const float* out = step.buffers[Area::kExpertOut];
  const float* shared = spec.shared_width > 0 ? out + std::ssize(all.rows) * hidden : nullptr;
  step.pool.ParallelFor(step.batch.rows(), [&](int64_t row, int) {
    float* to = step.sum() + row * hidden;
    for (int64_t i = row * chosen; i < (row + 1) * chosen; ++i) {
      const int64_t expert = all.chosen[static_cast<size_t>(i)].expert;
      if (expert < spec.first_held || expert >= spec.first_held + spec.held_experts()) continue;
      const float weight = all.chosen[static_cast<size_t>(i)].weight;
      const float* from = out + all.place[static_cast<size_t>(i)] * hidden;
      for (int64_t d = 0; d < hidden; ++d) to[d] += weight * from[d];
    }
    if (!shared) return;
    for (int64_t d = 0; d < hidden; ++d) to[d] += shared[row * hidden + d];
  });
}

}  // namespace gannet
