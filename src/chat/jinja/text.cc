#include "chat/jinja/text.h"

#include <utf8proc.h>

#include <algorithm>

namespace gannet::jinja {
namespace {

bool IsLineEnd(uint32_t c) {
  return (c >= 0x0a && c <= 0x0d) || (c >= 0x1c && c <= 0x1e) || c == 0x85 || c == 0x2028 || c == 0x2029;
}

bool Contains(std::string_view chars, uint32_t code_point) {
  for (size_t at = 0; at < chars.size();) {
    if (NextCodePoint(chars, at) == code_point) return true;
  }
  return false;
}

bool IsCased(uint32_t c) {
  return IsUpper(c) || IsLower(c) || utf8proc_category(static_cast<int32_t>(c)) == UTF8PROC_CATEGORY_LT;
}

void AppendUpper(uint32_t c, std::string& out) {
  if (c == 0xdf) {  // sharp s: the one full mapping that common text holds
    out += "SS";
  } else {
    AppendCodePoint(static_cast<uint32_t>(utf8proc_toupper(static_cast<int32_t>(c))), out);
  }
}

void AppendTitle(uint32_t c, std::string& out) {
  if (c == 0xdf) {
    out += "Ss";
  } else {
    AppendCodePoint(static_cast<uint32_t>(utf8proc_totitle(static_cast<int32_t>(c))), out);
  }
}

// Start of the code point that ends before byte `end`.
size_t PreviousStart(std::string_view text, size_t end) {
  do {
    --end;
  } while (end > 0 && (static_cast<uint8_t>(text[end]) & 0xc0) == 0x80);
  return end;
}

// A sigma that ends a word is written as final sigma (Unicode, SpecialCasing, Final_Sigma).
void AppendLower(std::string_view text, size_t start, size_t end, uint32_t c, std::string& out) {
  if (c == 0x3a3) {
    size_t next = end;
    const bool before = start > 0 && [&] {
      size_t at = PreviousStart(text, start);
      return IsCased(NextCodePoint(text, at));
    }();
    const bool after = end < text.size() && IsCased(NextCodePoint(text, next));
    AppendCodePoint(before && !after ? 0x3c2 : 0x3c3, out);
  } else if (c == 0x130) {
    out += "i\xcc\x87";
  } else {
    AppendCodePoint(static_cast<uint32_t>(utf8proc_tolower(static_cast<int32_t>(c))), out);
  }
}

}  // namespace

bool IsValidUtf8(std::string_view text) {
  const auto* data = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
  for (size_t at = 0; at < text.size();) {
    int32_t c = 0;
    const auto size = utf8proc_iterate(data + at, static_cast<utf8proc_ssize_t>(text.size() - at), &c);
    if (size <= 0) return false;
    at += static_cast<size_t>(size);
  }
  return true;
}

bool IsAscii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return static_cast<uint8_t>(c) < 0x80; });
}

uint32_t NextCodePoint(std::string_view text, size_t& at) {
  const uint8_t lead = static_cast<uint8_t>(text[at++]);
  if (lead < 0x80) return lead;
  const int more = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;
  uint32_t c = lead & (0x3fu >> more);
  for (int i = 0; i < more && at < text.size(); ++i) c = (c << 6) | (static_cast<uint8_t>(text[at++]) & 0x3fu);
  return c;
}

void AppendCodePoint(uint32_t code_point, std::string& out) {
  utf8proc_uint8_t bytes[4];
  const auto size = utf8proc_encode_char(static_cast<int32_t>(code_point), bytes);
  out.append(reinterpret_cast<const char*>(bytes), static_cast<size_t>(size));
}

size_t CountCodePoints(std::string_view text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<uint8_t>(c) & 0xc0) != 0x80; }));
}

std::vector<size_t> CodePointOffsets(std::string_view text) {
  std::vector<size_t> offsets;
  offsets.reserve(text.size() + 1);
  for (size_t i = 0; i < text.size(); ++i) {
    if ((static_cast<uint8_t>(text[i]) & 0xc0) != 0x80) offsets.push_back(i);
  }
  offsets.push_back(text.size());
  return offsets;
}

bool IsSpace(uint32_t c) {
  return (c >= 0x09 && c <= 0x0d) || (c >= 0x1c && c <= 0x20) || c == 0x85 || c == 0xa0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

bool IsAlpha(uint32_t c) {
  const auto category = utf8proc_category(static_cast<int32_t>(c));
  return category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO;
}
bool IsDigit(uint32_t c) { return utf8proc_category(static_cast<int32_t>(c)) == UTF8PROC_CATEGORY_ND; }
bool IsUpper(uint32_t c) { return utf8proc_category(static_cast<int32_t>(c)) == UTF8PROC_CATEGORY_LU; }
bool IsLower(uint32_t c) { return utf8proc_category(static_cast<int32_t>(c)) == UTF8PROC_CATEGORY_LL; }

bool IsPrintable(uint32_t c) {
  if (c == ' ') return true;
  const auto category = utf8proc_category(static_cast<int32_t>(c));
  return category != UTF8PROC_CATEGORY_CN && category < UTF8PROC_CATEGORY_ZS;
}

std::string Upper(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size();) AppendUpper(NextCodePoint(text, at), out);
  return out;
}

std::string Lower(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const size_t start = at;
    const uint32_t c = NextCodePoint(text, at);
    AppendLower(text, start, at, c, out);
  }
  return out;
}

std::string Title(std::string_view text) {
  std::string out;
  bool in_word = false;
  for (size_t at = 0; at < text.size();) {
    const size_t start = at;
    const uint32_t c = NextCodePoint(text, at);
    if (in_word) {
      AppendLower(text, start, at, c, out);
    } else {
      AppendTitle(c, out);
    }
    in_word = IsCased(c);
  }
  return out;
}

std::string Capitalize(std::string_view text) {
  if (text.empty()) return {};
  size_t at = 0;
  std::string out;
  AppendTitle(NextCodePoint(text, at), out);
  return out + Lower(text.substr(at));
}

std::string_view Strip(std::string_view text, std::optional<std::string_view> chars, Side side) {
  const auto goes = [&](uint32_t c) { return chars ? Contains(*chars, c) : IsSpace(c); };
  if (side != Side::kRight) {
    size_t at = 0;
    while (at < text.size()) {
      size_t next = at;
      if (!goes(NextCodePoint(text, next))) break;
      at = next;
    }
    text.remove_prefix(at);
  }
  if (side != Side::kLeft) {
    while (!text.empty()) {
      const size_t start = PreviousStart(text, text.size());
      size_t at = start;
      if (!goes(NextCodePoint(text, at))) break;
      text = text.substr(0, start);
    }
  }
  return text;
}

std::vector<std::string_view> Split(std::string_view text, std::optional<std::string_view> separator, int64_t limit) {
  std::vector<std::string_view> parts;
  if (separator) {
    while (limit < 0 || static_cast<int64_t>(parts.size()) < limit) {
      const size_t found = text.find(*separator);
      if (found == std::string_view::npos) break;
      parts.push_back(text.substr(0, found));
      text.remove_prefix(found + separator->size());
    }
    parts.push_back(text);
    return parts;
  }
  text = Strip(text, std::nullopt, Side::kLeft);
  while (!text.empty()) {
    if (limit >= 0 && static_cast<int64_t>(parts.size()) >= limit) {
      parts.push_back(text);
      break;
    }
    size_t end = 0;
    while (end < text.size()) {
      size_t next = end;
      if (IsSpace(NextCodePoint(text, next))) break;
      end = next;
    }
    parts.push_back(text.substr(0, end));
    text = Strip(text.substr(end), std::nullopt, Side::kLeft);
  }
  return parts;
}

std::vector<std::string_view> SplitFromRight(std::string_view text, std::optional<std::string_view> separator,
                                             int64_t limit) {
  std::vector<std::string_view> parts;
  if (separator) {
    while (limit < 0 || static_cast<int64_t>(parts.size()) < limit) {
      const size_t found = text.rfind(*separator);
      if (found == std::string_view::npos) break;
      parts.push_back(text.substr(found + separator->size()));
      text = text.substr(0, found);
    }
    parts.push_back(text);
  } else {
    text = Strip(text, std::nullopt, Side::kRight);
    while (!text.empty()) {
      if (limit >= 0 && static_cast<int64_t>(parts.size()) >= limit) {
        parts.push_back(text);
        break;
      }
      size_t start = text.size();
      while (start > 0) {
        const size_t before = PreviousStart(text, start);
        size_t at = before;
        if (IsSpace(NextCodePoint(text, at))) break;
        start = before;
      }
      parts.push_back(text.substr(start));
      text = Strip(text.substr(0, start), std::nullopt, Side::kRight);
    }
  }
  std::reverse(parts.begin(), parts.end());
  return parts;
}

std::vector<std::string_view> SplitLines(std::string_view text, bool keep_ends) {
  std::vector<std::string_view> lines;
  size_t start = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t end = at;
    const uint32_t c = NextCodePoint(text, at);
    if (!IsLineEnd(c)) continue;
    if (c == '\r' && at < text.size() && text[at] == '\n') ++at;
    lines.push_back(text.substr(start, (keep_ends ? at : end) - start));
    start = at;
  }
  if (start < text.size()) lines.push_back(text.substr(start));
  return lines;
}

std::string EscapeHtml(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&#34;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

}  // namespace gannet::jinja
