// The ways in which configurations name modules that are not quantized.
#pragma once

#include <optional>
#include <string>

#include "tokenizer/regex.h"

namespace gannet {

// A module's name; a part of it between dots; a glob of it or of a module around it; or "re:" and a regular expression
// that matches from the name's start.
class ModulePattern {
 public:
  explicit ModulePattern(std::string text);
  const std::string& text() const { return text_; }
  bool broken() const { return text_.starts_with("re:") && !regex_; }  // an expression that does not compile
  bool Matches(const std::string& module) const;

 private:
  std::string text_;
  std::optional<Regex> regex_;
};

}  // namespace gannet
