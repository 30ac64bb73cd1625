// Hand-written equals of the regular expressions that well-known tokenizers split words with. About ten times as fast
// as PCRE2's JIT; regex_test.cc holds each to its expression.
#pragma once

#include <span>
#include <string_view>

#include "tokenizer/unicode.h"

namespace gannet {

// The end of the piece that begins at `begin` < `end` of valid UTF-8; pieces follow one another without gaps.
using Scanner = const char* (*)(const CharTable& table, const char* begin, const char* end);

struct KnownRegex {
  std::string_view name;  // as GGUF's tokenizer.ggml.pre calls the family
  std::string_view regex;
  Scanner scanner;  // the matches of `regex`, and what lies between them
};
std::span<const KnownRegex> KnownRegexes();
const KnownRegex* FindKnownRegex(std::string_view regex);  // by its exact text; null if unknown

extern const std::string_view kGpt2Regex, kQwen2Regex, kLlama3Regex, kQwen35Regex, kGpt4oRegex;
// DeepSeek-V3 splits with these three, one inside the pieces of the other.
extern const std::string_view kDeepseekNumbers, kDeepseekKanaHan, kDeepseekWords;

// Several splits in one pass.
const char* ScanSmollm(const CharTable& table, const char* begin, const char* end);    // single digits, then GPT-2's
const char* ScanDeepseek(const CharTable& table, const char* begin, const char* end);  // the three of DeepSeek-V3

}  // namespace gannet
