// Tokens that are found in the text before anything else is done with it.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace gannet {

struct AddedToken {
  std::string content;
  int32_t id = 0;
  bool special = false;
  bool single_word = false;  // only where no word character touches it
  bool lstrip = false;       // takes the white space to its left along
  bool rstrip = false;       // and to its right
  bool normalized = false;   // is looked for in the normalized text
};

// Leftmost-longest search, as HF tokenizers' AddedVocabulary does it.
class AddedTokens {
 public:
  void Add(AddedToken token);  // `content` as it stands in the text searched; a repeated one replaces
  bool empty() const { return tokens_.empty(); }

  // The next token at or after `from` (special ones left out with `skip_special`) as [begin, end) of `text`, white
  // space included; false when there is none. No token begins before `from`.
  struct Match {
    size_t begin, end;
    int32_t id;
  };
  bool FindNext(std::string_view text, size_t from, bool skip_special, Match& match) const;

 private:
  struct Node {
    int32_t token = -1;  // index into tokens_
    std::vector<std::pair<unsigned char, int32_t>> next;
  };
  int32_t LongestAt(std::string_view text, size_t at) const;

  std::vector<AddedToken> tokens_;
  std::vector<Node> nodes_ = std::vector<Node>(1);
  std::array<bool, 256> starts_ = {};
};

}  // namespace gannet
