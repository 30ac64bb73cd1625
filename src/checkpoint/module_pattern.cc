#include "checkpoint/module_pattern.h"

#include <fnmatch.h>

#include <algorithm>
#include <utility>

#include "base/result.h"

namespace gannet {

ModulePattern::ModulePattern(std::string text) : text_(std::move(text)) {
  if (!text_.starts_with("re:")) return;
  try {
    regex_.emplace(text_.substr(3));
  } catch (const LoadError&) {  // broken()
  }
}

bool ModulePattern::Matches(const std::string& module) const {
  if (text_.starts_with("re:")) {
    const std::vector<Regex::Match> found = regex_ ? regex_->FindAll(module) : std::vector<Regex::Match>{};
    return !found.empty() && found.front().begin == 0;
  }
  if (is_glob()) {
    return fnmatch(text_.c_str(), module.c_str(), 0) == 0 || fnmatch((text_ + ".*").c_str(), module.c_str(), 0) == 0;
  }
  for (size_t at = module.find(text_); at != std::string::npos; at = module.find(text_, at + 1)) {
    const size_t end = at + text_.size();
    if ((at == 0 || module[at - 1] == '.') && (end == module.size() || module[end] == '.')) return true;
  }
  return false;
}

void ModulePatterns::Add(std::string text) {
  patterns_.emplace_back(std::move(text));
  matched_.push_back(false);
  (patterns_.back().plain() ? plain_[patterns_.back().text()] : others_).push_back(patterns_.size() - 1);
}

bool ModulePatterns::Match(const std::string& module) {
  bool any = false;
  for (size_t begin = 0; !plain_.empty() && begin < module.size();
       begin = std::min(module.find('.', begin), module.size()) + 1) {
    for (size_t end = begin; end < module.size(); ++end) {
      end = std::min(module.find('.', end), module.size());
      const auto found = plain_.find(std::string_view(module).substr(begin, end - begin));
      if (found == plain_.end()) continue;
      any = true;
      for (const size_t i : found->second) matched_[i] = true;
    }
  }
  for (const size_t i : others_) {
    if (!patterns_[i].Matches(module)) continue;
    any = matched_[i] = true;
  }
  return any;
}

std::vector<std::string> ModulePatterns::broken() const {
  std::vector<std::string> texts;
  for (const ModulePattern& pattern : patterns_) {
    if (pattern.broken()) texts.push_back(pattern.text());
  }
  return texts;
}

std::vector<std::string> ModulePatterns::unmatched() const {
  std::vector<std::string> texts;
  for (size_t i = 0; i < patterns_.size(); ++i) {
    if (!matched_[i] && !patterns_[i].broken()) texts.push_back(patterns_[i].text());
  }
  return texts;
}

}  // namespace gannet
