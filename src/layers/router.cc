#include "layers/router.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace gannet {
namespace {

constexpr double kNever = -std::numeric_limits<double>::infinity();

// A NaN counts as the least, so that the order stays an order.
double Rank(double score) { return std::isnan(score) ? kNever : score; }

std::vector<double> Scores(const RouterSpec& spec, std::span<const float> logits) {
  std::vector<double> scores(logits.begin(), logits.end());
  switch (spec.scoring) {
    case RouterSpec::Scoring::kSigmoid:
      for (double& score : scores) score = 1 / (1 + std::exp(-score));
      break;
    case RouterSpec::Scoring::kSoftmax: {
      const double most = *std::ranges::max_element(scores);
      double sum = 0;
      for (double& score : scores) sum += score = std::exp(score - most);
      for (double& score : scores) score /= sum;
      break;
    }
    case RouterSpec::Scoring::kSoftmaxOfChosen:
      break;
  }
  return scores;
}

// Choices outside the best groups become impossible. A group's score is the sum of its two best.
void KeepBestGroups(const RouterSpec& spec, std::vector<double>& choice) {
  const size_t groups = static_cast<size_t>(spec.groups);
  const size_t size = choice.size() / groups;
  std::vector<std::pair<double, size_t>> order;
  for (size_t g = 0; g < groups; ++g) {
    std::vector<double> members(choice.begin() + static_cast<ptrdiff_t>(g * size),
                                choice.begin() + static_cast<ptrdiff_t>((g + 1) * size));
    std::ranges::sort(members, std::greater());
    order.emplace_back(-(members[0] + (size > 1 ? members[1] : 0)), g);
  }
  std::ranges::sort(order);
  for (size_t i = static_cast<size_t>(spec.chosen_groups); i < groups; ++i) {
    const auto first = choice.begin() + static_cast<ptrdiff_t>(order[i].second * size);
    std::fill(first, first + static_cast<ptrdiff_t>(size), kNever);
  }
}

}  // namespace

void Route(const RouterSpec& spec, std::span<const float> logits, std::span<const float> correction,
           std::span<ChosenExpert> chosen) {
  const std::vector<double> scores = Scores(spec, logits);
  std::vector<double> choice(scores.size());
  for (size_t e = 0; e < choice.size(); ++e) {
    choice[e] = Rank(scores[e] + (correction.empty() ? 0.0 : static_cast<double>(correction[e])));
  }
  if (spec.groups > 1) KeepBestGroups(spec, choice);

  std::vector<int32_t> order(choice.size());
  for (size_t e = 0; e < order.size(); ++e) order[e] = static_cast<int32_t>(e);
  const auto count = static_cast<ptrdiff_t>(chosen.size());
  std::partial_sort(order.begin(), order.begin() + count, order.end(), [&](int32_t a, int32_t b) {
    const double left = choice[static_cast<size_t>(a)];
    const double right = choice[static_cast<size_t>(b)];
    return left != right ? left > right : a < b;
  });

  std::vector<double> weights(chosen.size());
  for (size_t i = 0; i < chosen.size(); ++i) weights[i] = scores[static_cast<size_t>(order[i])];
  if (spec.scoring == RouterSpec::Scoring::kSoftmaxOfChosen) {
    const double most = weights[0];
    double sum = 0;
    for (double& weight : weights) sum += weight = std::exp(weight - most);
    for (double& weight : weights) weight /= sum;
  }
  double divisor = 1;
  if (spec.normalize) {
    divisor = 0;
    for (const double weight : weights) divisor += weight;
    divisor = std::max(divisor, spec.min_sum);
  }
  for (size_t i = 0; i < chosen.size(); ++i) {
    chosen[i] = {order[i], static_cast<float>(weights[i] / divisor * spec.scaling)};
  }
}

}  // namespace gannet
