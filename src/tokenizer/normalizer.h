// What is done to the text before it is split: the "normalizer" of a tokenizer.json.
#pragma once

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/json.h"
#include "tokenizer/regex.h"

namespace gannet {

enum class UnicodeForm { kNfc, kNfd, kNfkc, kNfkd };

class Normalizer {
 public:
  struct Lowercase {};
  struct StripSpace {
    bool left, right;
  };
  struct Prepend {
    std::string text;
  };
  struct Replace {
    std::string text;
    std::vector<Regex> regex;  // one, or none and `text` is what is looked for
    std::string content;
  };
  using Step = std::variant<UnicodeForm, Lowercase, StripSpace, Prepend, Replace>;

  Normalizer() = default;  // changes nothing
  explicit Normalizer(std::vector<Step> steps) : steps_(std::move(steps)) {}
  // `json` may be null. Throws LoadError("tokenizer", ...) naming a type that is not implemented.
  static Normalizer Parse(const Json* json);

  bool empty() const { return steps_.empty(); }
  // `text` is valid UTF-8. Returns `text` itself when nothing changes, else a view of `buffer`.
  std::string_view Apply(std::string_view text, std::string& buffer) const;

 private:
  std::vector<Step> steps_;
};

// Unicode normalization (UAX #15), in time linear in the text whatever its marks; false if that is the text itself.
bool NormalizeUnicode(std::string_view text, UnicodeForm form, std::string& out);
// True only if no text of such characters is changed by NFC.
bool IsInertUnderNfc(char32_t c);

}  // namespace gannet
