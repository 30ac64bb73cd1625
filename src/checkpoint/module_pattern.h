// The ways in which configurations name modules that are not quantized.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "tokenizer/regex.h"

namespace gannet {

// A module's name; a part of it between dots; a glob of it or of a module around it; or "re:" and a regular expression
// that matches from the name's start.
class ModulePattern {
 public:
  explicit ModulePattern(std::string text);
  const std::string& text() const { return text_; }
  bool broken() const { return text_.starts_with("re:") && !regex_; }     // an expression that does not compile
  bool plain() const { return !text_.starts_with("re:") && !is_glob(); }  // a name or a part of one
  bool Matches(const std::string& module) const;

 private:
  bool is_glob() const { return text_.find_first_of("*?[") != std::string::npos; }

  std::string text_;
  std::optional<Regex> regex_;
};

// A list of them, as long as the checkpoint has modules: whole names and parts of names are looked up, the others tried
// in turn.
class ModulePatterns {
 public:
  void Add(std::string text);
  // Whether any matches; remembers each that does.
  bool Match(const std::string& module);
  std::vector<std::string> broken() const;     // no regular expressions
  std::vector<std::string> unmatched() const;  // so far; none of the broken

 private:
  struct Hash : std::hash<std::string_view> {
    using is_transparent = void;
  };
  std::vector<ModulePattern> patterns_;
  std::vector<bool> matched_;
  std::unordered_map<std::string, std::vector<size_t>, Hash, std::equal_to<>> plain_;
  std::vector<size_t> others_;
};

}  // namespace gannet
