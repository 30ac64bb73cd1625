#include "tokenizer/scanners.h"

#include <gtest/gtest.h>

#include <random>

#include "base/result.h"
#include "tokenizer/regex.h"

namespace gannet {
namespace {

std::vector<std::string> Scan(Scanner scanner, std::string_view text) {
  std::vector<std::string> pieces;
  const char* end = text.data() + text.size();
  for (const char* p = text.data(); p < end;) {
    const char* next = scanner(CharTable::Get(), p, end);
    if (next <= p || next > end) throw std::runtime_error("a scanner left the text");
    pieces.emplace_back(p, next);
    p = next;
  }
  return pieces;
}

// Matches and gaps of the expression within each piece.
std::vector<std::string> Split(const Regex& regex, const std::vector<std::string>& pieces) {
  std::vector<std::string> out;
  for (const std::string& piece : pieces) {
    size_t done = 0;
    for (const Regex::Match& match : regex.FindAll(piece)) {
      if (match.begin > done) out.push_back(piece.substr(done, match.begin - done));
      out.push_back(piece.substr(match.begin, match.end - match.begin));
      done = match.end;
    }
    if (done < piece.size()) out.push_back(piece.substr(done));
  }
  return out;
}

// Characters on which the branches of the expressions turn; some from all of Unicode as PCRE2 knows it.
std::vector<std::string> RandomTexts(int count) {
  static const Regex unassigned("\\p{Cn}|\\p{Co}");
  static const char* const kPool[] = {
      " ",      " ",      " ",      "\n",     "\r", "\t",  "'",  "s",      "S",      "t",      "re",
      "LL",     "d",      "a",      "b",      "X",  "Y",   "Z",  "1",      "2",      "3",      "9",
      ".",      "!",      "/",      "_",      "$",  "-",   "é",  "É",      "ſ",      "ǅ",      "ʰ",
      "中",     "文",     "龥",     "龦",     "ひ", "カ",  "ー", "\u3000", "\u00a0", "\u0085", "\u2028",
      "\u0301", "\u0903", "\u200d", "\u200b", "½",  "Ⅷ",   "٣",  "〇",     "€",      "☃",      "\U0001f600",
      "\ufe0f", "\x01",   "\x7f",   "\u00ad", "'s", "'VE", "  ", "\r\n",   "ⓐ"};
  std::mt19937 random(7);
  std::vector<std::string> texts;
  while (static_cast<int>(texts.size()) < count) {
    std::string text;
    for (unsigned i = 0, n = 1 + random() % 30; i < n; ++i) {
      if (random() % 12) {
        text += kPool[random() % std::size(kPool)];
        continue;
      }
      const char32_t c = random() % 4 ? random() % 0x3000 : random() % 0x2fa1e;
      std::string character;
      if (c < 0xd800 || c >= 0xe000) AppendUtf8(c, character);
      if (unassigned.FindAll(character).empty()) text += character;
    }
    if (!text.empty()) texts.push_back(text);
  }
  return texts;
}

TEST(Scanners, EqualTheirRegularExpressions) {
  const std::vector<std::string> texts = RandomTexts(20000);
  for (const KnownRegex& known : KnownRegexes()) {
    const Regex regex(known.regex);
    for (const std::string& text : texts) {
      ASSERT_EQ(Scan(known.scanner, text), Split(regex, {text})) << known.name << ": " << text;
    }
  }
}

TEST(Scanners, OnePassEqualsTheStages) {
  const Regex digit("\\p{N}"), gpt2(kGpt2Regex);
  const Regex numbers(kDeepseekNumbers), kana_han(kDeepseekKanaHan), words(kDeepseekWords);
  for (const std::string& text : RandomTexts(20000)) {
    ASSERT_EQ(Scan(ScanSmollm, text), Split(gpt2, Split(digit, {text}))) << text;
    ASSERT_EQ(Scan(ScanDeepseek, text), Split(words, Split(kana_han, Split(numbers, {text})))) << text;
  }
}

TEST(CharTable, EqualsPcre2WhereItKnowsTheCharacter) {
  std::string all;
  const CharTable& table = CharTable::Get();
  for (char32_t c = 0; c < 0x110000; ++c) {
    if (c < 0xd800 || c >= 0xe000) AppendUtf8(c, all);
  }
  const auto marked = [&](const char* regex) {
    std::vector<bool> marks(0x110000);
    for (const Regex::Match& match : Regex(regex).FindAll(all)) {
      for (size_t i = match.begin; i < match.end; i += static_cast<size_t>(Utf8Length(all[i]))) {
        marks[DecodeUtf8(all.data() + i)] = true;
      }
    }
    return marks;
  };
  const std::vector<bool> known = marked("\\P{Cn}+");
  const struct {
    unsigned char_class;
    const char* regex;
  } kCases[] = {{kLetter, "\\p{L}+"},
                {kMark, "\\p{M}+"},
                {kNumber, "\\p{N}+"},
                {kPunct, "\\p{P}+"},
                {kSymbol, "\\p{S}+"},
                {kSpace, "\\s+"},
                {kNewline, "[\\r\\n]+"},
                {kUpperish, "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+"},
                {kLowerish, "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+"},
                {kWord, "[\\w\\u200c\\u200d]+"},
                {kAsciiSymbol, "[$+<=>^`|~]+"}};
  for (const auto& test : kCases) {
    const std::vector<bool> marks = marked(test.regex);
    for (char32_t c = 0; c < 0x110000; ++c) {
      ASSERT_TRUE(!known[c] || ((table[c] & test.char_class) != 0) == marks[c]) << test.regex << " " << uint32_t{c};
    }
  }
  EXPECT_TRUE(table[0x1fae9] & kSymbol);  // Unicode 16
  EXPECT_TRUE(table[0x1c89] & kLetter);
}

TEST(Regex, TranslatesWhatOnigurumaMeans) {
  const auto find = [](const char* regex, std::string_view text) {
    std::string found;
    for (const Regex::Match& match : Regex(regex).FindAll(text)) {
      found.append("[").append(text.substr(match.begin, match.end - match.begin)).append("]");
    }
    return found;
  };
  EXPECT_EQ(find("\\s", "a\u0085b\u3000"), "[\u0085][\u3000]");
  EXPECT_EQ(find("\\h+", "fg 0x"), "[f][0]");
  EXPECT_EQ(find("[^\\s\\w]+", "a!?b \u0903-"), "[!?][-]");
  EXPECT_EQ(find("\\p{Han}+", "漢字、かな"), "[漢字]");
  EXPECT_EQ(find("\\p{^L}", "a1"), "[1]");
  EXPECT_EQ(find("(?i:'s)", "'S'ſ"), "['S]['ſ]");
  EXPECT_EQ(find("\\bx", "x ax x"), "[x][x]");
  EXPECT_EQ(find("^a", "a\na"), "[a][a]");
  EXPECT_EQ(find("b*", "ab"), "[][b][]");
  for (const char* refused : {"[a[b]]", "[a&&b]", "\\R", "a{2}+", "(*FAIL)", "[\\W]", "\\", "(", "\\p{Nonsense}"}) {
    EXPECT_THROW(Regex{refused}, LoadError) << refused;
  }
}

TEST(Regex, EndsOnHostileExpressions) {
  const Regex regex("(?:a+)+b");
  EXPECT_TRUE(regex.FindAll(std::string(5000, 'a')).empty());
  const Regex deep("(?:(a)|b)+c");
  deep.FindAll(std::string(1'000'000, 'a'));
}

}  // namespace
}  // namespace gannet
