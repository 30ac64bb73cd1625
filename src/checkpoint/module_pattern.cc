#include "checkpoint/module_pattern.h"

#include <fnmatch.h>

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
  if (text_.find_first_of("*?[") != std::string::npos) {
    return fnmatch(text_.c_str(), module.c_str(), 0) == 0 || fnmatch((text_ + ".*").c_str(), module.c_str(), 0) == 0;
  }
  for (size_t at = module.find(text_); at != std::string::npos; at = module.find(text_, at + 1)) {
    const size_t end = at + text_.size();
    if ((at == 0 || module[at - 1] == '.') && (end == module.size() || module[end] == '.')) return true;
  }
  return false;
}

}  // namespace gannet
