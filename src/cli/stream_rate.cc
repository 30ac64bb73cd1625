#include "cli/stream_rate.h"

#include <algorithm>
#include <limits>

#include "base/result.h"

namespace gannet {
namespace {

// The sum of the streams' rates over tokens in (begin, end], the first of a stream left out, or 0 where one has none.
double RateWithin(std::span<const std::vector<double>> arrivals, double begin, double end) {
  double rate = 0;
  for (const std::vector<double>& times : arrivals) {
    const auto first = std::max(times.begin() + 1, std::upper_bound(times.begin(), times.end(), begin));
    const auto last = std::upper_bound(times.begin(), times.end(), end);
    if (first >= last) return 0;
    rate += static_cast<double>(last - first) / (*(last - 1) - *(first - 1));
  }
  return rate;
}

}  // namespace

double TokensPerSecond(std::span<const std::vector<double>> arrivals) {
  constexpr double kEver = std::numeric_limits<double>::infinity();
  double begin = -kEver;
  double end = kEver;
  for (const std::vector<double>& times : arrivals) {
    GANNET_ASSERT(times.size() >= 2, "a stream has two tokens or more");
    begin = std::max(begin, times.front());
    end = std::min(end, times.back());
  }
  const double together = RateWithin(arrivals, begin, end);
  return together > 0 ? together : RateWithin(arrivals, -kEver, kEver);
}

}  // namespace gannet
