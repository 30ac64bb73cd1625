#include "kernels/choose_keys.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>
#include <numeric>
#include <vector>

namespace gannet {
namespace {

// Grows with the score, then with falling position.
uint64_t Rank(float score, uint32_t index) {
  uint32_t bits = 0;
  if (!std::isnan(score)) {
    bits = std::bit_cast<uint32_t>(score + 0.0f);  // -0 is 0
    bits = bits >> 31 ? ~bits : bits | 0x80000000u;
  }
  return static_cast<uint64_t>(bits) << 32 | ~index;
}

}  // namespace

void ChooseAll(KeySpan span, int64_t row, const ChosenKeys& out) {
  const int32_t count = std::max(0, span.end - span.begin);
  std::iota(out.positions + row * out.stride, out.positions + row * out.stride + count, span.begin);
  out.counts[row] = count;
}

void ChooseBest(std::span<const float> scores, KeySpan span, int64_t top_k, int64_t row, const ChosenKeys& out) {
  static thread_local std::vector<uint64_t> ranks;
  ranks.resize(scores.size());
  for (size_t i = 0; i < scores.size(); ++i) ranks[i] = Rank(scores[i], static_cast<uint32_t>(i));
  std::nth_element(ranks.begin(), ranks.begin() + top_k - 1, ranks.end(), std::greater<>());
  int32_t* positions = out.positions + row * out.stride;
  for (int64_t i = 0; i < top_k; ++i) {
    positions[i] = span.begin + static_cast<int32_t>(~static_cast<uint32_t>(ranks[static_cast<size_t>(i)]));
  }
  std::sort(positions, positions + top_k);
  out.counts[row] = static_cast<int32_t>(top_k);
}

}  // namespace gannet
