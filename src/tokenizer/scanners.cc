#include "tokenizer/scanners.h"

namespace gannet {

const std::string_view kGpt2Regex = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
const std::string_view kQwen2Regex =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
const std::string_view kLlama3Regex =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
const std::string_view kQwen35Regex =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
const std::string_view kGpt4oRegex =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|)"
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|)"
    R"(\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
const std::string_view kDeepseekNumbers = R"(\p{N}{1,3})";
const std::string_view kDeepseekKanaHan = "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+";
const std::string_view kDeepseekWords =
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+|"
    " ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+";

namespace {

// Reads classes; a character of class `kStop` is the end of the text to it.
template <unsigned kStop>
class Text {
 public:
  Text(const CharTable& table, const char* end) : table_(table), end_(end) {}

  // The class of the character at p; 0 at the end. A class can be 0 elsewhere too.
  unsigned At(const char* p) const {
    if (p >= end_) return 0;
    const unsigned c =
        static_cast<unsigned char>(*p) < 0x80 ? table_.Ascii(static_cast<unsigned char>(*p)) : table_[DecodeUtf8(p)];
    return (c & kStop) ? 0 : c;
  }
  bool IsEnd(const char* p) const {
    if (p >= end_) return true;
    if constexpr (kStop == 0) return false;
    return (table_[DecodeUtf8(p)] & kStop) != 0;
  }
  const char* Next(const char* p) const { return p + Utf8Length(*p); }
  // The end of the run of characters that have one of `classes`.
  const char* Run(const char* p, unsigned classes) const {
    while (At(p) & classes) p = Next(p);
    return p;
  }
  // The end of the run of characters that have none of `classes`.
  const char* RunWithout(const char* p, unsigned classes) const {
    while (!IsEnd(p) && !(At(p) & classes)) p = Next(p);
    return p;
  }
  const char* RunOfBytes(const char* p, char a, char b, char c) const {
    while (p < end_ && (*p == a || *p == b || *p == c)) ++p;
    return p;
  }

  // '(s|t|re|ve|m|ll|d) at p; null if there is none. Without case, U+017F is an s.
  template <bool kAnyCase>
  const char* Contraction(const char* p) const {
    if (end_ - p < 2 || *p != '\'') return nullptr;
    const auto lower = [](char c) { return static_cast<char>(kAnyCase && c >= 'A' && c <= 'Z' ? c | 0x20 : c); };
    const char first = lower(p[1]);
    if (first == 's' || first == 't' || first == 'm' || first == 'd') return p + 2;
    if (end_ - p < 3) return nullptr;
    if (kAnyCase && p[1] == '\xc5' && p[2] == '\xbf') return p + 3;
    const char second = lower(p[2]);
    if ((first == 'r' && second == 'e') || (first == 'v' && second == 'e') || (first == 'l' && second == 'l')) {
      return p + 3;
    }
    return nullptr;
  }

  // \s+(?!\S)|\s+ at white space; with `kNewlines`, \s*[\r\n]+ before them.
  template <bool kNewlines>
  const char* Space(const char* p) const {
    const char* last = p;           // the run's last character
    const char* newline = nullptr;  // behind its last \r or \n
    const char* at = p;
    for (unsigned c = At(at); c & kSpace; c = At(at)) {
      last = at;
      at = Next(at);
      if (c & kNewline) newline = at;
    }
    if (kNewlines && newline) return newline;
    return IsEnd(at) || last == p ? at : last;
  }

 private:
  const CharTable& table_;
  const char* end_;
};

template <unsigned kStop>
const char* Gpt2(const CharTable& table, const char* p, const char* end) {
  const Text<kStop> text(table, end);
  if (const char* contraction = text.template Contraction<false>(p)) return contraction;
  const char* q = *p == ' ' ? p + 1 : p;
  if (!text.IsEnd(q)) {
    const unsigned c = text.At(q);
    if (c & kLetter) return text.Run(q, kLetter);
    if (c & kNumber) return text.Run(q, kNumber);
    if (!(c & kSpace)) return text.RunWithout(q, kSpace | kLetter | kNumber);
  }
  return text.template Space<false>(p);
}

const char* Numbers(const Text<0>& text, const char* p, int at_most) {
  while (at_most-- > 0 && (text.At(p) & kNumber)) p = text.Next(p);
  return p;
}

// kLetters: what makes a word; kDigits: numbers in one piece.
template <unsigned kLetters, int kDigits>
const char* Cl100k(const CharTable& table, const char* p, const char* end) {
  const Text<0> text(table, end);
  if (const char* contraction = text.Contraction<true>(p)) return contraction;
  const unsigned c = text.At(p);
  if (c & kLetters) return text.Run(p, kLetters);
  if (c & kNumber) return Numbers(text, p, kDigits);
  if (!(c & kNewline)) {
    const char* q = text.Next(p);
    if (text.At(q) & kLetters) return text.Run(q, kLetters);
  }
  const char* q = *p == ' ' ? p + 1 : p;
  if (!text.IsEnd(q) && !(text.At(q) & (kSpace | kLetters | kNumber))) {
    return text.RunOfBytes(text.RunWithout(q, kSpace | kLetters | kNumber), '\r', '\n', '\n');
  }
  return text.Space<true>(p);
}

// [U]*[L]+ at p, or null: U and L share caseless letters and marks, so L+ may have to give some back to U*.
const char* UpperThenLower(const Text<0>& text, const char* p) {
  const char* shared = nullptr;  // behind the last character in both sets
  const char* q = p;
  for (unsigned c = text.At(q); c & kUpperish; c = text.At(q)) {
    q = text.Next(q);
    if (c & kLowerish) shared = q;
  }
  const char* lower = text.Run(q, kLowerish);
  return lower != q ? lower : shared;
}

const char* Gpt4o(const CharTable& table, const char* p, const char* end) {
  const Text<0> text(table, end);
  const unsigned c = text.At(p);
  const auto with_contraction = [&](const char* at) {
    const char* contraction = at < end ? text.Contraction<true>(at) : nullptr;
    return contraction ? contraction : at;
  };
  if (c & kNumber) return Numbers(text, p, 3);
  const char* next = c & (kNewline | kLetter) ? nullptr : text.Next(p);  // behind the optional first character
  if (next) {
    if (const char* word = UpperThenLower(text, next)) return with_contraction(word);
  }
  if (const char* word = UpperThenLower(text, p)) return with_contraction(word);
  for (const char* start : {next, p}) {  // no lower-case letter follows: [U]+ alone
    if (!start) continue;
    const char* upper = text.Run(start, kUpperish);
    if (upper != start) return with_contraction(upper);
  }
  const char* q = *p == ' ' ? p + 1 : p;
  if (!text.IsEnd(q) && !(text.At(q) & (kSpace | kLetter | kNumber))) {
    return text.RunOfBytes(text.RunWithout(q, kSpace | kLetter | kNumber), '\r', '\n', '/');
  }
  return text.Space<true>(p);
}

template <unsigned kStop>
const char* DeepseekWords(const CharTable& table, const char* p, const char* end) {
  const Text<kStop> text(table, end);
  const unsigned c = text.At(p);
  if (static_cast<unsigned char>(*p) < 0x80 && (c & (kPunct | kSymbol)) && (text.At(p + 1) & kAsciiLetter)) {
    return text.Run(p + 1, kAsciiLetter);
  }
  if (c & (kLetter | kMark)) return text.Run(p, kLetter | kMark);
  if (!(c & (kNewline | kPunct | kSymbol))) {
    const char* q = text.Next(p);
    if (text.At(q) & (kLetter | kMark)) return text.Run(q, kLetter | kMark);
  }
  const char* q = *p == ' ' ? p + 1 : p;
  if (text.At(q) & (kPunct | kSymbol)) {
    return text.RunOfBytes(text.Run(q, kPunct | kSymbol), '\r', '\n', '\n');
  }
  if (c & kSpace) return text.template Space<true>(p);
  // Controls, formats, unassigned, and numbers where this stands alone: no match begins here. Up to where one does.
  constexpr unsigned kBegins = kLetter | kMark | kPunct | kSymbol | kSpace;
  for (q = text.Next(p); !text.IsEnd(q) && !(text.At(q) & kBegins); q = text.Next(q)) {
    if (text.At(text.Next(q)) & (kLetter | kMark)) break;
  }
  return q;
}

// Runs of what has a class and runs of what has not.
template <unsigned kClass>
const char* RunOrGap(const CharTable& table, const char* p, const char* end) {
  const Text<0> text(table, end);
  return text.At(p) & kClass ? text.Run(p, kClass) : text.RunWithout(p, kClass);
}

const char* DeepseekNumbers(const CharTable& table, const char* p, const char* end) {
  const Text<0> text(table, end);
  return text.At(p) & kNumber ? Numbers(text, p, 3) : text.RunWithout(p, kNumber);
}

}  // namespace

const char* ScanSmollm(const CharTable& table, const char* p, const char* end) {
  if (table[DecodeUtf8(p)] & kNumber) return p + Utf8Length(*p);
  return Gpt2<kNumber>(table, p, end);
}

const char* ScanDeepseek(const CharTable& table, const char* p, const char* end) {
  const Text<0> text(table, end);
  const unsigned c = text.At(p);
  if (c & kNumber) return Numbers(text, p, 3);
  if (c & kKanaHan) return text.Run(p, kKanaHan);
  return DeepseekWords<kNumber | kKanaHan>(table, p, end);
}

std::span<const KnownRegex> KnownRegexes() {
  static const KnownRegex known[] = {
      {"gpt-2", kGpt2Regex, Gpt2<0>},
      {"qwen2", kQwen2Regex, Cl100k<kLetter, 1>},
      {"llama-bpe", kLlama3Regex, Cl100k<kLetter, 3>},
      {"qwen35", kQwen35Regex, Cl100k<kLetter | kMark, 1>},
      {"gpt-4o", kGpt4oRegex, Gpt4o},
      {"deepseek-v3 numbers", kDeepseekNumbers, DeepseekNumbers},
      {"deepseek-v3 kana and han", kDeepseekKanaHan, RunOrGap<kKanaHan>},
      {"deepseek-v3 words", kDeepseekWords, DeepseekWords<0>},
  };
  return known;
}

const KnownRegex* FindKnownRegex(std::string_view regex) {
  for (const KnownRegex& known : KnownRegexes()) {
    if (known.regex == regex) return &known;
  }
  return nullptr;
}

}  // namespace gannet
