// The "decoder" of a tokenizer.json, reduced to what each token contributes and what happens to the front of the text.
#pragma once

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/json.h"

namespace gannet {

class Decoder {
 public:
  // Throws LoadError("tokenizer", ...) naming a type, or an order of types, that is not implemented.
  static Decoder Parse(const Json* json);

  std::string Bytes(std::string_view token) const;  // what the token spelled so contributes

  std::string first_loses;  // as in TokenizerParts
  int strip_left = 0;
  char strip_char = ' ';

 private:
  struct Replace {
    std::string text, content;
  };
  struct Strip {
    std::string text;
    int64_t left, right;
  };
  struct ByteLevel {};
  struct ByteFallback {};
  void Add(const Json& json);

  std::vector<std::variant<Replace, Strip, ByteLevel, ByteFallback>> steps_;
  bool fused_ = false;  // the tokens are one string by now
};

}  // namespace gannet
