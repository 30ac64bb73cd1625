// Ends a text before the first stop string to complete, however the text is cut into pieces.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace gannet {

// The text ends where the first stop string is complete; of those complete there, the longest is cut off. Empty stop
// strings never match.
class StopMatcher {
 public:
  explicit StopMatcher(std::vector<std::string> stop_strings);

  struct Piece {
    std::string text;      // safe to show
    bool stopped = false;  // a stop string came; text after it is ignored
  };
  // Holds back the longest end of the text so far that could begin a stop string.
  Piece Push(std::string_view text);
  // What was held back, when no more text comes.
  std::string Finish();

 private:
  struct Stop {
    std::string text;
    std::vector<size_t> fallback;  // Knuth-Morris-Pratt: of each prefix, its longest border
    size_t matched = 0;            // bytes of `text` that the text so far ends with
  };
  std::vector<Stop> stops_;
  std::string held_;
  bool stopped_ = false;
};

}  // namespace gannet
