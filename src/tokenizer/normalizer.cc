#include "tokenizer/normalizer.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <span>

#include "tokenizer/json_reading.h"
#include "tokenizer/unicode.h"

namespace gannet {
namespace {

void AddSteps(const Json& json, std::vector<Normalizer::Step>& steps) {
  namespace tj = tokenizer_json;
  const std::string& type = tj::String(json, "type", "a normalizer");
  const std::string where = "normalizer " + type;
  if (type == "Sequence") {
    for (const Json& part : tj::Array(json, "normalizers", where)) AddSteps(part, steps);
  } else if (type == "NFC") {
    steps.emplace_back(UnicodeForm::kNfc);
  } else if (type == "NFD") {
    steps.emplace_back(UnicodeForm::kNfd);
  } else if (type == "NFKC") {
    steps.emplace_back(UnicodeForm::kNfkc);
  } else if (type == "NFKD") {
    steps.emplace_back(UnicodeForm::kNfkd);
  } else if (type == "Lowercase") {
    steps.emplace_back(Normalizer::Lowercase{});
  } else if (type == "Strip") {
    steps.emplace_back(
        Normalizer::StripSpace{tj::Bool(json, "strip_left", true, where), tj::Bool(json, "strip_right", true, where)});
  } else if (type == "Prepend") {
    steps.emplace_back(Normalizer::Prepend{tj::String(json, "prepend", where)});
  } else if (type == "Replace") {
    const tj::Pattern pattern = tj::ReadPattern(json, where);
    Normalizer::Replace replace{pattern.text, {}, tj::String(json, "content", where)};
    if (pattern.is_regex) replace.regex.emplace_back(pattern.text);
    steps.emplace_back(std::move(replace));
  } else {
    tj::Fail("the normalizer \"{}\" is not implemented", type);
  }
}

struct CodeRange {
  char32_t first, last;
};

// Marks that have a combining class since Unicode 10 or later. HF tokenizers normalizes by Unicode 9 (crate
// unicode-normalization-alignments 0.1.12), where they stay in their place and let nothing past; so do we.
constexpr CodeRange kMarksAfterUnicode9[] = {
    {0x7fd, 0x7fd},     {0x898, 0x89f},     {0x8ca, 0x8d3},     {0x9fe, 0x9fe},     {0xc3c, 0xc3c},
    {0xd3b, 0xd3c},     {0xeba, 0xeba},     {0x1715, 0x1715},   {0x1abf, 0x1ace},   {0x1df6, 0x1dfa},
    {0xa82c, 0xa82c},   {0x10d24, 0x10d27}, {0x10eab, 0x10eac}, {0x10efd, 0x10eff}, {0x10f46, 0x10f50},
    {0x10f82, 0x10f85}, {0x11070, 0x11070}, {0x1133b, 0x1133b}, {0x1145e, 0x1145e}, {0x11839, 0x1183a},
    {0x1193d, 0x1193e}, {0x11943, 0x11943}, {0x119e0, 0x119e0}, {0x11a34, 0x11a34}, {0x11a47, 0x11a47},
    {0x11a99, 0x11a99}, {0x11d42, 0x11d42}, {0x11d44, 0x11d45}, {0x11d97, 0x11d97}, {0x11f41, 0x11f42},
    {0x16ff0, 0x16ff1}, {0x1e08f, 0x1e08f}, {0x1e130, 0x1e136}, {0x1e2ae, 0x1e2ae}, {0x1e2ec, 0x1e2ef},
    {0x1e4ec, 0x1e4ef}};

bool IsFixed(int32_t c) {
  const auto* range =
      std::lower_bound(std::begin(kMarksAfterUnicode9), std::end(kMarksAfterUnicode9), static_cast<char32_t>(c),
                       [](CodeRange r, char32_t point) { return r.last < point; });
  return range != std::end(kMarksAfterUnicode9) && range->first <= static_cast<char32_t>(c);
}

int CombiningClass(int32_t c) { return IsFixed(c) ? 0 : utf8proc_get_property(c)->combining_class; }

// Appends the canonical compositions of points in canonical order.
void AppendComposed(std::span<int32_t> points, std::string& out) {
  constexpr int kOptions = UTF8PROC_STABLE | UTF8PROC_COMPOSE;
  const utf8proc_ssize_t count = utf8proc_normalize_utf32(points.data(), static_cast<utf8proc_ssize_t>(points.size()),
                                                          static_cast<utf8proc_option_t>(kOptions));
  GANNET_ASSERT(count >= 0, "utf8proc composes any code points");
  for (const int32_t c : points.first(static_cast<size_t>(count))) AppendUtf8(static_cast<char32_t>(c), out);
}

bool Run(UnicodeForm form, std::string_view text, std::string& out) { return NormalizeUnicode(text, form, out); }

bool Run(const Normalizer::Lowercase&, std::string_view text, std::string& out) {
  for (size_t i = 0; i < text.size(); i += static_cast<size_t>(Utf8Length(text[i]))) {
    const char32_t c = DecodeUtf8(text.data() + i);
    if (c == 0x130) {  // the one unconditional mapping to two characters (SpecialCasing.txt)
      out += "i\u0307";
    } else {
      AppendUtf8(static_cast<char32_t>(utf8proc_tolower(static_cast<int32_t>(c))), out);
    }
  }
  return true;
}

bool Run(const Normalizer::StripSpace& strip, std::string_view text, std::string& out) {
  const CharTable& table = CharTable::Get();
  size_t begin = 0, end = 0, last = 0;
  for (size_t i = 0; i < text.size(); i = last) {
    last = i + static_cast<size_t>(Utf8Length(text[i]));
    if (table[DecodeUtf8(text.data() + i)] & kSpace) {
      if (end == 0) begin = last;
    } else {
      end = last;
    }
  }
  const size_t from = strip.left ? begin : 0;
  const size_t to = strip.right ? std::max(end, from) : text.size();
  if (from == 0 && to == text.size()) return false;
  out = text.substr(from, to - from);
  return true;
}

bool Run(const Normalizer::Prepend& prepend, std::string_view text, std::string& out) {
  if (text.empty()) return false;
  out = prepend.text;
  out += text;
  return true;
}

bool Run(const Normalizer::Replace& replace, std::string_view text, std::string& out) {
  size_t done = 0;
  const auto put = [&](size_t begin, size_t end) {
    out += text.substr(done, begin - done);
    out += replace.content;
    done = end;
  };
  if (replace.regex.empty()) {
    if (replace.text.empty()) return false;
    for (size_t at = text.find(replace.text); at != std::string_view::npos; at = text.find(replace.text, done)) {
      put(at, at + replace.text.size());
    }
  } else {
    for (const Regex::Match& match : replace.regex[0].FindAll(text)) put(match.begin, match.end);
  }
  if (done == 0 && out.empty()) return false;
  out += text.substr(done);
  return true;
}

}  // namespace

Normalizer Normalizer::Parse(const Json* json) {
  std::vector<Step> steps;
  if (json && !json->is_null()) AddSteps(*json, steps);
  return Normalizer(std::move(steps));
}

std::string_view Normalizer::Apply(std::string_view text, std::string& buffer) const {
  for (const Step& step : steps_) {
    std::string out;
    if (!std::visit([&](const auto& s) { return Run(s, text, out); }, step)) continue;
    buffer = std::move(out);
    text = buffer;
  }
  return text;
}

// Blocks, or parts of them, without decomposition, combining classes or second halves of a composition; most text is
// of these. normalizer_test.cc asks utf8proc about every one.
bool IsInertUnderNfc(char32_t c) {
  static constexpr std::array<CodeRange, 12> kInert = {{{0, 0x2ff},
                                                        {0x388, 0x482},
                                                        {0x48a, 0x52f},
                                                        {0x2010, 0x205e},
                                                        {0x2190, 0x2328},
                                                        {0x2500, 0x2ad0},
                                                        {0x2e80, 0x3029},
                                                        {0x3030, 0x3098},
                                                        {0x309b, 0x4dbf},
                                                        {0x4e00, 0x9fff},
                                                        {0xac00, 0xd7a3},
                                                        {0xff00, 0xfffd}}};
  if (c < 0x300) return true;
  if (c >= 0x1f000 && c <= 0x1faff) return true;
  return std::any_of(kInert.begin(), kInert.end(),
                     [&](CodeRange range) { return c >= range.first && c <= range.last; });
}

bool NormalizeUnicode(std::string_view text, UnicodeForm form, std::string& out) {
  size_t same = 0;  // of the front: no change whatever follows, up to its last character
  for (; same < text.size(); same += static_cast<size_t>(Utf8Length(text[same]))) {
    if (static_cast<unsigned char>(text[same]) < 0x80) continue;
    if (form != UnicodeForm::kNfc || !IsInertUnderNfc(DecodeUtf8(text.data() + same))) break;
  }
  if (same == text.size()) return false;
  if (same > 0) {  // the character before may combine with what follows
    do {
      --same;
    } while ((static_cast<unsigned char>(text[same]) & 0xc0) == 0x80);
  }
  const bool compose = form == UnicodeForm::kNfc || form == UnicodeForm::kNfkc;
  const bool compatible = form == UnicodeForm::kNfkc || form == UnicodeForm::kNfkd;
  const int decompose = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | (compatible ? UTF8PROC_COMPAT : 0);
  std::vector<int32_t> points;
  points.reserve(text.size() - same);
  for (size_t i = same; i < text.size(); i += static_cast<size_t>(Utf8Length(text[i]))) {
    std::array<int32_t, 32> parts{};  // the longest decomposition has 18
    int boundary = 0;
    const utf8proc_ssize_t count = utf8proc_decompose_char(static_cast<int32_t>(DecodeUtf8(text.data() + i)),
                                                           parts.data(), static_cast<utf8proc_ssize_t>(parts.size()),
                                                           static_cast<utf8proc_option_t>(decompose), &boundary);
    GANNET_ASSERT(count >= 0 && count <= static_cast<utf8proc_ssize_t>(parts.size()),
                  "utf8proc decomposes every character of valid UTF-8");
    points.insert(points.end(), parts.begin(), parts.begin() + count);
  }
  // Canonical order. utf8proc's own sort is quadratic in a run of marks.
  for (size_t i = 0; i < points.size();) {
    if (CombiningClass(points[i]) == 0) {
      ++i;
      continue;
    }
    size_t end = i;
    while (end < points.size() && CombiningClass(points[end]) != 0) ++end;
    std::stable_sort(points.begin() + static_cast<std::ptrdiff_t>(i), points.begin() + static_cast<std::ptrdiff_t>(end),
                     [&](int32_t a, int32_t b) { return CombiningClass(a) < CombiningClass(b); });
    i = end;
  }
  out = text.substr(0, same);
  if (!compose) {
    for (const int32_t c : points) AppendUtf8(static_cast<char32_t>(c), out);
    return out != text;
  }
  for (size_t i = 0; i < points.size();) {
    size_t end = i;
    while (end < points.size() && !IsFixed(points[end])) ++end;
    AppendComposed(std::span(points).subspan(i, end - i), out);
    if (end < points.size()) AppendUtf8(static_cast<char32_t>(points[end++]), out);
    i = end;
  }
  return out != text;
}

}  // namespace gannet
