#include "chat/stop_matcher.h"

#include <algorithm>
#include <utility>

namespace gannet {

StopMatcher::StopMatcher(std::vector<std::string> stop_strings) {
  for (std::string& text : stop_strings) {
    if (text.empty()) continue;
    Stop stop;
    stop.text = std::move(text);
    stop.fallback.assign(stop.text.size(), 0);
    for (size_t i = 1, border = 0; i < stop.text.size(); ++i) {
      while (border > 0 && stop.text[i] != stop.text[border]) border = stop.fallback[border - 1];
      if (stop.text[i] == stop.text[border]) ++border;
      stop.fallback[i] = border;
    }
    stops_.push_back(std::move(stop));
  }
}

StopMatcher::Piece StopMatcher::Push(std::string_view text) {
  if (stopped_) return {{}, true};
  size_t longest = 0;  // partial match, as far as the text went
  for (const Stop& stop : stops_) longest = std::max(longest, stop.matched);
  for (const char c : text) {
    held_ += c;
    longest = 0;
    size_t complete = 0;
    for (Stop& stop : stops_) {
      while (stop.matched > 0 && stop.text[stop.matched] != c) stop.matched = stop.fallback[stop.matched - 1];
      if (stop.text[stop.matched] == c) ++stop.matched;
      longest = std::max(longest, stop.matched);
      if (stop.matched == stop.text.size()) complete = std::max(complete, stop.matched);
    }
    if (complete > 0) {
      stopped_ = true;
      Piece piece{std::exchange(held_, {}), true};
      piece.text.resize(piece.text.size() - complete);
      return piece;
    }
  }
  Piece piece{held_.substr(0, held_.size() - longest), false};
  held_.erase(0, held_.size() - longest);
  return piece;
}

std::string StopMatcher::Finish() { return stopped_ ? std::string() : std::exchange(held_, {}); }

}  // namespace gannet
