#include "cli/stream_rate.h"

#include <gtest/gtest.h>

#include <vector>

namespace gannet {
namespace {

// Tokens of `streams` streams in steps of `step` seconds, microseconds apart in each, from step `first[i]` on.
std::vector<std::vector<double>> Steps(const std::vector<int>& first, int tokens, double step) {
  std::vector<std::vector<double>> arrivals(first.size());
  for (size_t i = 0; i < first.size(); ++i) {
    for (int t = 0; t < tokens; ++t) arrivals[i].push_back(step * (first[i] + t) + 1e-6 * static_cast<double>(i));
  }
  return arrivals;
}

TEST(StreamRate, OfOneStream) { EXPECT_NEAR(TokensPerSecond(Steps({0}, 9, 0.25)), 4, 1e-9); }

// The last step of the window brings the stream that ends first its token before the others theirs.
TEST(StreamRate, CountsWholeSteps) {
  EXPECT_NEAR(TokensPerSecond(Steps({0, 1, 1, 1}, 8, 0.25)), 16, 1e-9);
  EXPECT_NEAR(TokensPerSecond(Steps({1, 1, 1, 0}, 8, 0.25)), 16, 1e-9);
  EXPECT_NEAR(TokensPerSecond(Steps(std::vector<int>(16, 0), 4, 0.25)), 64, 1e-9);
}

// Steps take a second while one stream of two runs, and two while both do.
TEST(StreamRate, LeavesOutWhatIsNotOfAll) {
  const std::vector<std::vector<double>> arrivals = {{0, 1, 2, 4, 6, 8}, {2, 4, 6, 8, 9, 10}};
  EXPECT_NEAR(TokensPerSecond(arrivals), 1, 1e-9);
}

TEST(StreamRate, OfStreamsOneAfterAnother) {
  const std::vector<std::vector<double>> arrivals = {{0, 1, 2}, {3, 3.5, 4}};
  EXPECT_NEAR(TokensPerSecond(arrivals), 3, 1e-9);
}

}  // namespace
}  // namespace gannet
