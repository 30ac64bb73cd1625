#include "tokenizer/unicode.h"

#include <gtest/gtest.h>
#include <utf8proc.h>

#include <random>

#include "tokenizer/normalizer.h"

namespace gannet {
namespace {

TEST(Utf8, RepairsMaximalParts) {
  // The Unicode Standard 16.0, section 3.9, tables 3-8 to 3-11.
  EXPECT_EQ(RepairUtf8("\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41"),
            "\ufffd\ufffd\ufffd\ufffd\ufffd\ufffd\ufffd\ufffd"
            "A");
  EXPECT_EQ(RepairUtf8("\xED\xA0\x80\xED\xBF\xBF\xED\xAF\x41"),
            "\ufffd\ufffd\ufffd\ufffd\ufffd\ufffd\ufffd\ufffd"
            "A");
  EXPECT_EQ(RepairUtf8("\xF4\x91\x92\x93\xFF\x41\x80\xBF\x42"),
            "\ufffd\ufffd\ufffd\ufffd\ufffd"
            "A\ufffd\ufffd"
            "B");
  EXPECT_EQ(RepairUtf8("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41"),
            "\ufffd\ufffd\ufffd\ufffd"
            "A");
  EXPECT_EQ(RepairUtf8(std::string_view("\0\xf4\x8f\xbf\xbf", 5)), std::string_view("\0\U0010ffff", 5));
}

TEST(Utf8, ValidIffUnchangedAndChunksDoNotMatter) {
  std::mt19937 random(1);
  for (int i = 0; i < 20000; ++i) {
    std::string bytes(random() % 24, 'x');
    for (char& c : bytes) {
      static constexpr unsigned char kEdges[] = {0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc1,
                                                 0xc2, 0xdf, 0xe0, 0xe1, 0xed, 0xef, 0xf0, 0xf1, 0xf4, 0xf5};
      c = static_cast<char>(random() % 8 ? kEdges[random() % std::size(kEdges)] : random() % 256);
    }
    const std::string repaired = RepairUtf8(bytes);
    EXPECT_TRUE(IsValidUtf8(repaired));
    EXPECT_EQ(IsValidUtf8(bytes), repaired == bytes);
    // utf8proc as the judge of one character at a time.
    bool valid = true;
    for (size_t at = 0; at < bytes.size() && valid;) {
      int32_t c = 0;
      const auto length = utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(bytes.data()) + at,
                                           static_cast<utf8proc_ssize_t>(bytes.size() - at), &c);
      valid = length > 0;
      at += valid ? static_cast<size_t>(length) : 0;
    }
    EXPECT_EQ(IsValidUtf8(bytes), valid);
    Utf8Repair repair;
    std::string out;
    for (size_t at = 0; at < bytes.size();) {
      const size_t length = 1 + random() % 3;
      repair.Push(std::string_view(bytes).substr(at, length), out);
      EXPECT_TRUE(IsValidUtf8(out));
      at += length;
    }
    repair.Finish(out);
    EXPECT_EQ(out, repaired);
  }
}

std::string Utf8procNormalize(const std::string& text, int form) {
  utf8proc_uint8_t* made = nullptr;
  const auto size =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()), static_cast<utf8proc_ssize_t>(text.size()),
                   &made, static_cast<utf8proc_option_t>(UTF8PROC_STABLE | form));
  std::string out(reinterpret_cast<char*>(made), static_cast<size_t>(size));
  free(made);
  return out;
}

TEST(Normalizer, EqualsUtf8procOnRandomText) {
  const struct {
    UnicodeForm form;
    int options;
  } kForms[] = {{UnicodeForm::kNfc, UTF8PROC_COMPOSE},
                {UnicodeForm::kNfd, UTF8PROC_DECOMPOSE},
                {UnicodeForm::kNfkc, UTF8PROC_COMPOSE | UTF8PROC_COMPAT},
                {UnicodeForm::kNfkd, UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT}};
  std::mt19937 random(5);
  for (int i = 0; i < 20000; ++i) {
    std::string text;
    for (unsigned k = 0, n = random() % 20; k < n; ++k) {
      static constexpr char32_t kPool[] = {'a',    'e',    'A',    0xc5,   0x212b, 0x301,  0x323,  0x307,
                                           0x327,  0x345,  0x1100, 0x1161, 0x11a8, 0xac00, 0xac01, 0x915,
                                           0x93c,  0x9c7,  0x9be,  0x3099, 0x304b, 0xfb01, 0x2460, 0x1e9b,
                                           0x4e2d, 0xfdfa, 0x390,  0x1f82, 0x2f800};
      char32_t c = random() % 4 ? kPool[random() % std::size(kPool)] : random() % 0x600;
      AppendUtf8(c, text);
    }
    for (const auto& form : kForms) {
      std::string out;
      const bool changed = NormalizeUnicode(text, form.form, out);
      EXPECT_EQ(changed ? out : text, Utf8procNormalize(text, form.options)) << text;
    }
  }
}

TEST(Normalizer, InertCharactersAreInert) {
  std::vector<bool> second(0x110000);  // is a later character of some decomposition: may compose with what is before
  for (char32_t c = 0; c < 0x110000; ++c) {
    if (c >= 0xd800 && c < 0xe000) continue;
    std::string text;
    AppendUtf8(c, text);
    const std::string nfd = Utf8procNormalize(text, UTF8PROC_DECOMPOSE);
    for (size_t i = static_cast<size_t>(Utf8Length(nfd[0])); i < nfd.size();
         i += static_cast<size_t>(Utf8Length(nfd[i]))) {
      second[DecodeUtf8(nfd.data() + i)] = true;
    }
    if (!IsInertUnderNfc(c)) continue;
    EXPECT_EQ(Utf8procNormalize(text, UTF8PROC_COMPOSE), text) << uint32_t{c};
    EXPECT_EQ(utf8proc_get_property(static_cast<int32_t>(c))->combining_class, 0) << uint32_t{c};
  }
  for (char32_t c = 0; c < 0x110000; ++c) EXPECT_FALSE(second[c] && IsInertUnderNfc(c)) << uint32_t{c};
}

TEST(Normalizer, MarksAreSortedInLinearithmicTime) {
  std::string text = "a";
  for (int i = 0; i < 300'000; ++i) text += i % 2 ? "\u0301" : "\u0323";
  std::string out;
  EXPECT_TRUE(NormalizeUnicode(text, UnicodeForm::kNfc, out));  // quadratic: minutes
}

TEST(Normalizer, YoungMarksStayAsInHuggingFace) {
  std::string out;
  EXPECT_FALSE(NormalizeUnicode("q\u0345\u1df6\u0334", UnicodeForm::kNfc, out));
  EXPECT_FALSE(NormalizeUnicode("a\u1df6\u0301", UnicodeForm::kNfc, out));
  EXPECT_TRUE(NormalizeUnicode("a\u0334\u0301", UnicodeForm::kNfc, out));
  EXPECT_EQ(out, "\u00e1\u0334");
}

}  // namespace
}  // namespace gannet
