#include "chat/stop_matcher.h"

#include <gtest/gtest.h>

#include <optional>
#include <random>

namespace gannet {
namespace {

// By trying every end of the text in turn.
std::pair<std::string, bool> CutByTrying(const std::string& text, const std::vector<std::string>& stops) {
  for (size_t end = 1; end <= text.size(); ++end) {
    size_t longest = 0;
    for (const std::string& stop : stops) {
      if (!stop.empty() && stop.size() <= end && text.compare(end - stop.size(), stop.size(), stop) == 0) {
        longest = std::max(longest, stop.size());
      }
    }
    if (longest > 0) return {text.substr(0, end - longest), true};
  }
  return {text, false};
}

TEST(StopMatcher, HoldsBackOnlyWhatCouldBeginAStop) {
  StopMatcher matcher({"</end>", "\n\n"});
  EXPECT_EQ(matcher.Push("text <").text, "text ");
  EXPECT_EQ(matcher.Push("b> <").text, "<b> ");
  EXPECT_EQ(matcher.Push("/en").text, "");
  EXPECT_EQ(matcher.Push("\n").text, "</en");
  EXPECT_EQ(matcher.Finish(), "\n");
}

TEST(StopMatcher, StopsBeforeTheFirstToComplete) {
  StopMatcher matcher({"abcd", "bc"});
  const auto piece = matcher.Push("xabcd");
  EXPECT_EQ(piece.text, "xa");
  EXPECT_TRUE(piece.stopped);
  EXPECT_TRUE(matcher.Push("more").stopped);
  EXPECT_EQ(matcher.Push("more").text, "");
  EXPECT_EQ(matcher.Finish(), "");
}

TEST(StopMatcher, CutsTheLongestOfThoseThatEndTogether) {
  StopMatcher matcher({"c", "abc"});
  EXPECT_EQ(matcher.Push("zzab").text, "zz");
  const auto piece = matcher.Push("c");
  EXPECT_EQ(piece.text, "");
  EXPECT_TRUE(piece.stopped);
}

TEST(StopMatcher, WithoutStopsNothingIsHeld) {
  StopMatcher matcher({"", ""});
  EXPECT_EQ(matcher.Push("anything").text, "anything");
  EXPECT_EQ(matcher.Finish(), "");
}

TEST(StopMatcher, AnyCutGivesTheSameText) {
  std::mt19937 random(7);
  const auto pick = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
  const auto word = [&](int longest) {
    std::string text;
    for (int i = pick(longest + 1); i > 0; --i) text += static_cast<char>('a' + pick(2));
    return text;
  };
  int stopped_runs = 0;
  for (int run = 0; run < 20000; ++run) {
    std::vector<std::string> stops;
    for (int i = pick(4); i > 0; --i) stops.push_back(word(6));
    const std::string text = word(24);
    const auto [expected, expect_stop] = CutByTrying(text, stops);
    StopMatcher matcher(stops);
    std::string shown;
    bool stopped = false;
    for (size_t at = 0; at < text.size();) {
      const size_t size = std::min(static_cast<size_t>(pick(5)), text.size() - at);
      const auto piece = matcher.Push(text.substr(at, size));
      at += size;
      ASSERT_TRUE(!stopped || piece.text.empty());
      shown += piece.text;
      stopped = piece.stopped;
      ASSERT_TRUE(expected.starts_with(shown)) << text;  // nothing shown is ever taken back
      if (!stopped) {
        // What is held back is as long as the longest stop's beginning that the text ends with, and no longer.
        const std::string seen = text.substr(0, at);
        size_t longest = 0;
        for (const std::string& stop : stops) {
          for (size_t n = 1; n < stop.size(); ++n) {
            if (seen.ends_with(stop.substr(0, n))) longest = std::max(longest, n);
          }
        }
        ASSERT_EQ(shown.size() + longest, at) << text;
      }
    }
    shown += matcher.Finish();
    ASSERT_EQ(shown, expected) << text;
    ASSERT_EQ(stopped, expect_stop) << text;
    stopped_runs += stopped;
  }
  EXPECT_GT(stopped_runs, 2000);
}

}  // namespace
}  // namespace gannet
