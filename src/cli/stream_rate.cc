#include "cli/stream_rate.h"

#include <algorithm>
#include <limits>

#include "base/result.h"

namespace gannet {
namespace {

// The sum of the streams' rates over tokens in (begin, end], or 0 where one of them has none.
double RateWithin(std::span<const std::vector<double>> arrivals, double begin, double end) {
  double rate = 0;
  for (const std::vector<double>& times : arrivals) {
    const auto first = std::upper_bound(times.begin(), times.end(), begin);
    const auto last = std::upper_bound(times.begin(), times.end(), end);
    if (first == times.begin() || first >= last) return 0;
    rate += static_cast<double>(last - first) / (*(last - 1) - *(first - 1));
  }
  return rate;
}

}  // namespace

double TokensPerSecond(std::span<const std::vector<double>> arrivals) {
  double begin = -std::numeric_limits<double>::infinity();
  double end = std::numeric_limits<double>::infinity();
  for (const std::vector<double>& times : arrivals) {
    GANNET_ASSERT(times.size() >= 2, "a stream has two tokens or more");
    begin = std::max(begin, times.front());
    end = std::min(end, times.back());
  }
  const double together = RateWithin(arrivals, begin, end);
  if (together > 0) return together;
  double rate = 0;
  for (const std::vector<double>& times : arrivals) {
    rate += static_cast<double>(times.size() - 1) / (times.back() - times.front());
  }
  return rate;
}

}  // namespace gannet
