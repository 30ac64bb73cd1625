// A regular expression of a tokenizer.json: Oniguruma's Ruby syntax, Unicode, run by PCRE2's JIT.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace gannet {

class Regex {
 public:
  // Throws LoadError("tokenizer", ...) quoting the expression when it is wrong or uses a construct that the two engines
  // read differently and that is not translated.
  explicit Regex(std::string_view pattern);
  ~Regex();
  Regex(Regex&&) noexcept;
  Regex& operator=(Regex&&) noexcept;

  struct Match {
    size_t begin, end;
  };
  // All matches from left to right in valid UTF-8, none overlapping. An expression that runs into PCRE2's limits finds
  // nothing more.
  std::vector<Match> FindAll(std::string_view text) const;

 private:
  struct Code;
  std::unique_ptr<Code> code_;
};

// Oniguruma's syntax to PCRE2's; public for the test.
std::string TranslateRegex(std::string_view pattern);

}  // namespace gannet
