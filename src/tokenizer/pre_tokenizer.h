// How text is cut into the words that BPE works on: the "pre_tokenizer" of a tokenizer.json.
#pragma once

#include <deque>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/json.h"
#include "tokenizer/regex.h"
#include "tokenizer/scanners.h"

namespace gannet {

enum class SplitBehavior { kRemoved, kIsolated, kMergedWithPrevious, kMergedWithNext, kContiguous };

class PreTokenizer {
 public:
  // Splits at the matches of a regular expression, of a string, or of runs of a class of characters.
  struct Split {
    SplitBehavior behavior = SplitBehavior::kIsolated;
    bool invert = false;
    Scanner scanner = nullptr;      // does all of it, if set
    std::vector<Regex> regex = {};  // one or none
    std::string text = {};
    unsigned classes = 0;  // a match is one character of these classes...
    bool runs = false;     // ...or a run of them
  };
  struct PrefixSpace {};  // a space before every piece that begins with none
  enum class Prefix { kAlways, kFirst, kNever };
  struct Metaspace {
    std::string replacement;
    Prefix prefix;
    bool split;
  };
  using Stage = std::variant<Split, PrefixSpace, Metaspace>;

  PreTokenizer() = default;  // the whole text is one word
  explicit PreTokenizer(std::vector<Stage> stages);
  // `json` may be null. Throws LoadError("tokenizer", ...) naming a type that is not implemented.
  static PreTokenizer Parse(const Json* json);

  // There is a ByteLevel stage: the words are spelled in bytes.
  bool byte_level() const { return byte_level_; }

  // Calls word(string_view) for every piece of `text`, which is not empty. `at_start`: `text` begins the whole input.
  template <typename Word>
  void ForEachWord(std::string_view text, bool at_start, Word word) const {
    if (scanner_) {
      const CharTable& table = CharTable::Get();
      const char* end = text.data() + text.size();
      for (const char* p = text.data(); p < end;) {
        const char* next = scanner_(table, p, end);
        word(std::string_view(p, static_cast<size_t>(next - p)));
        p = next;
      }
      return;
    }
    std::deque<std::string> changed;
    for (const Piece& piece : Pieces(text, at_start, changed)) word(piece.text);
  }

 private:
  struct Piece {
    std::string_view text;
    bool at_start;
  };
  // Pieces of `text` or of the strings put into `changed`.
  std::vector<Piece> Pieces(std::string_view text, bool at_start, std::deque<std::string>& changed) const;
  static void Run(const Split& split, Piece piece, std::deque<std::string>& changed, std::vector<Piece>& out);
  static void Run(const PrefixSpace&, Piece piece, std::deque<std::string>& changed, std::vector<Piece>& out);
  static void Run(const Metaspace& metaspace, Piece piece, std::deque<std::string>& changed, std::vector<Piece>& out);

  std::vector<Stage> stages_;
  Scanner scanner_ = nullptr;  // does all stages, if set
  bool byte_level_ = false;
};

}  // namespace gannet
