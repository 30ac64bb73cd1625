// Template source to tokens, white space control applied as jinja2 does with trim_blocks and lstrip_blocks.
#pragma once

#include <string>
#include <vector>

#include "chat/jinja/value.h"

namespace gannet::jinja {

enum class TokenKind : uint8_t {
  kText,
  kBlockBegin,
  kBlockEnd,
  kOutputBegin,
  kOutputEnd,
  kName,
  kString,
  kInteger,
  kFloat,
  kOperator,
  kEnd
};

struct Token {
  TokenKind kind;
  int line;
  std::string text;  // of a text, name, operator; the value of a string
  Value number;
};

// Throws SyntaxError.
std::vector<Token> Tokenize(const std::string& source);

}  // namespace gannet::jinja
