#include "tokenizer/unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstring>
#include <map>

namespace gannet {
namespace {

struct CategoryRange {
  char32_t first, last;
  int category;
};
// General categories of Unicode 16.0 that utf8proc 2.8 (Unicode 15.0) does not know or knows otherwise.
constexpr CategoryRange kAfterUnicode15[] = {
    {0x897, 0x897, UTF8PROC_CATEGORY_MN},     {0x1B4E, 0x1B4F, UTF8PROC_CATEGORY_PO},
    {0x1B7F, 0x1B7F, UTF8PROC_CATEGORY_PO},   {0x1C89, 0x1C89, UTF8PROC_CATEGORY_LU},
    {0x1C8A, 0x1C8A, UTF8PROC_CATEGORY_LL},   {0x2427, 0x2429, UTF8PROC_CATEGORY_SO},
    {0x2FFC, 0x2FFF, UTF8PROC_CATEGORY_SO},   {0x31E4, 0x31E5, UTF8PROC_CATEGORY_SO},
    {0x31EF, 0x31EF, UTF8PROC_CATEGORY_SO},   {0xA7CB, 0xA7CC, UTF8PROC_CATEGORY_LU},
    {0xA7CD, 0xA7CD, UTF8PROC_CATEGORY_LL},   {0xA7DA, 0xA7DA, UTF8PROC_CATEGORY_LU},
    {0xA7DB, 0xA7DB, UTF8PROC_CATEGORY_LL},   {0xA7DC, 0xA7DC, UTF8PROC_CATEGORY_LU},
    {0x105C0, 0x105F3, UTF8PROC_CATEGORY_LO}, {0x10D40, 0x10D49, UTF8PROC_CATEGORY_ND},
    {0x10D4A, 0x10D4D, UTF8PROC_CATEGORY_LO}, {0x10D4E, 0x10D4E, UTF8PROC_CATEGORY_LM},
    {0x10D4F, 0x10D4F, UTF8PROC_CATEGORY_LO}, {0x10D50, 0x10D65, UTF8PROC_CATEGORY_LU},
    {0x10D69, 0x10D6D, UTF8PROC_CATEGORY_MN}, {0x10D6E, 0x10D6E, UTF8PROC_CATEGORY_PD},
    {0x10D6F, 0x10D6F, UTF8PROC_CATEGORY_LM}, {0x10D70, 0x10D85, UTF8PROC_CATEGORY_LL},
    {0x10D8E, 0x10D8F, UTF8PROC_CATEGORY_SM}, {0x10EC2, 0x10EC4, UTF8PROC_CATEGORY_LO},
    {0x10EFC, 0x10EFC, UTF8PROC_CATEGORY_MN}, {0x11380, 0x11389, UTF8PROC_CATEGORY_LO},
    {0x1138B, 0x1138B, UTF8PROC_CATEGORY_LO}, {0x1138E, 0x1138E, UTF8PROC_CATEGORY_LO},
    {0x11390, 0x113B5, UTF8PROC_CATEGORY_LO}, {0x113B7, 0x113B7, UTF8PROC_CATEGORY_LO},
    {0x113B8, 0x113BA, UTF8PROC_CATEGORY_MC}, {0x113BB, 0x113C0, UTF8PROC_CATEGORY_MN},
    {0x113C2, 0x113C2, UTF8PROC_CATEGORY_MC}, {0x113C5, 0x113C5, UTF8PROC_CATEGORY_MC},
    {0x113C7, 0x113CA, UTF8PROC_CATEGORY_MC}, {0x113CC, 0x113CD, UTF8PROC_CATEGORY_MC},
    {0x113CE, 0x113CE, UTF8PROC_CATEGORY_MN}, {0x113CF, 0x113CF, UTF8PROC_CATEGORY_MC},
    {0x113D0, 0x113D0, UTF8PROC_CATEGORY_MN}, {0x113D1, 0x113D1, UTF8PROC_CATEGORY_LO},
    {0x113D2, 0x113D2, UTF8PROC_CATEGORY_MN}, {0x113D3, 0x113D3, UTF8PROC_CATEGORY_LO},
    {0x113D4, 0x113D5, UTF8PROC_CATEGORY_PO}, {0x113D7, 0x113D8, UTF8PROC_CATEGORY_PO},
    {0x113E1, 0x113E2, UTF8PROC_CATEGORY_MN}, {0x116D0, 0x116E3, UTF8PROC_CATEGORY_ND},
    {0x1171E, 0x1171E, UTF8PROC_CATEGORY_MC}, {0x11BC0, 0x11BE0, UTF8PROC_CATEGORY_LO},
    {0x11BE1, 0x11BE1, UTF8PROC_CATEGORY_PO}, {0x11BF0, 0x11BF9, UTF8PROC_CATEGORY_ND},
    {0x11F5A, 0x11F5A, UTF8PROC_CATEGORY_MN}, {0x13460, 0x143FA, UTF8PROC_CATEGORY_LO},
    {0x16100, 0x1611D, UTF8PROC_CATEGORY_LO}, {0x1611E, 0x16129, UTF8PROC_CATEGORY_MN},
    {0x1612A, 0x1612C, UTF8PROC_CATEGORY_MC}, {0x1612D, 0x1612F, UTF8PROC_CATEGORY_MN},
    {0x16130, 0x16139, UTF8PROC_CATEGORY_ND}, {0x16D40, 0x16D42, UTF8PROC_CATEGORY_LM},
    {0x16D43, 0x16D6A, UTF8PROC_CATEGORY_LO}, {0x16D6B, 0x16D6C, UTF8PROC_CATEGORY_LM},
    {0x16D6D, 0x16D6F, UTF8PROC_CATEGORY_PO}, {0x16D70, 0x16D79, UTF8PROC_CATEGORY_ND},
    {0x18CFF, 0x18CFF, UTF8PROC_CATEGORY_LO}, {0x1CC00, 0x1CCEF, UTF8PROC_CATEGORY_SO},
    {0x1CCF0, 0x1CCF9, UTF8PROC_CATEGORY_ND}, {0x1CD00, 0x1CEB3, UTF8PROC_CATEGORY_SO},
    {0x1E5D0, 0x1E5ED, UTF8PROC_CATEGORY_LO}, {0x1E5EE, 0x1E5EF, UTF8PROC_CATEGORY_MN},
    {0x1E5F0, 0x1E5F0, UTF8PROC_CATEGORY_LO}, {0x1E5F1, 0x1E5FA, UTF8PROC_CATEGORY_ND},
    {0x1E5FF, 0x1E5FF, UTF8PROC_CATEGORY_PO}, {0x1F8B2, 0x1F8BB, UTF8PROC_CATEGORY_SO},
    {0x1F8C0, 0x1F8C1, UTF8PROC_CATEGORY_SO}, {0x1FA89, 0x1FA89, UTF8PROC_CATEGORY_SO},
    {0x1FA8F, 0x1FA8F, UTF8PROC_CATEGORY_SO}, {0x1FABE, 0x1FABE, UTF8PROC_CATEGORY_SO},
    {0x1FAC6, 0x1FAC6, UTF8PROC_CATEGORY_SO}, {0x1FADC, 0x1FADC, UTF8PROC_CATEGORY_SO},
    {0x1FADF, 0x1FADF, UTF8PROC_CATEGORY_SO}, {0x1FAE9, 0x1FAE9, UTF8PROC_CATEGORY_SO},
    {0x1FBCB, 0x1FBEF, UTF8PROC_CATEGORY_SO}, {0x2EBF0, 0x2EE5D, UTF8PROC_CATEGORY_LO}};

// Other_Alphabetic of category So (PropList.txt): circled and squared letters.
bool IsAlphabeticSymbol(char32_t c) {
  return (c >= 0x24b6 && c <= 0x24e9) || (c >= 0x1f130 && c <= 0x1f149) || (c >= 0x1f150 && c <= 0x1f169) ||
         (c >= 0x1f170 && c <= 0x1f189);
}

bool IsWhiteSpace(char32_t c) {
  return (c >= 9 && c <= 13) || c == 0x20 || c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) ||
         c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

uint16_t ClassOf(char32_t c, int category) {
  unsigned bits = 0;
  switch (category) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LT:
      bits = kLetter | kWord | kUpperish;
      break;
    case UTF8PROC_CATEGORY_LL:
      bits = kLetter | kWord | kLowerish;
      break;
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
      bits = kLetter | kWord | kUpperish | kLowerish;
      break;
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
      bits = kMark | kWord | kUpperish | kLowerish;
      break;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
      bits = kNumber | kWord;
      break;
    case UTF8PROC_CATEGORY_NO:
      bits = kNumber;
      break;
    case UTF8PROC_CATEGORY_PC:
      bits = kPunct | kWord;
      break;
    case UTF8PROC_CATEGORY_PD:
    case UTF8PROC_CATEGORY_PS:
    case UTF8PROC_CATEGORY_PE:
    case UTF8PROC_CATEGORY_PI:
    case UTF8PROC_CATEGORY_PF:
    case UTF8PROC_CATEGORY_PO:
      bits = kPunct;
      break;
    case UTF8PROC_CATEGORY_SM:
    case UTF8PROC_CATEGORY_SC:
    case UTF8PROC_CATEGORY_SK:
    case UTF8PROC_CATEGORY_SO:
      bits = kSymbol;
      break;
    default:
      break;
  }
  if (IsWhiteSpace(c)) bits |= kSpace;
  if (c == '\r' || c == '\n') bits |= kNewline;
  if (IsAlphabeticSymbol(c) || c == 0x200c || c == 0x200d) bits |= kWord;
  if ((c >= 0x4e00 && c <= 0x9fa5) || (c >= 0x3040 && c <= 0x30ff)) bits |= kKanaHan;
  if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) bits |= kAsciiLetter;
  if (c < 0x80 && (bits & kSymbol)) bits |= kAsciiSymbol;
  return static_cast<uint16_t>(bits);
}

constexpr std::string_view kReplacement = "\xef\xbf\xbd";

}  // namespace

CharTable::CharTable() {
  std::map<std::vector<uint16_t>, uint16_t> seen;
  std::vector<uint16_t> block(256);
  const CategoryRange* newer = kAfterUnicode15;
  for (char32_t start = 0; start < 0x110000; start += 256) {
    for (char32_t c = start; c < start + 256; ++c) {
      while (newer != std::end(kAfterUnicode15) && newer->last < c) ++newer;
      const bool is_newer = newer != std::end(kAfterUnicode15) && newer->first <= c;
      block[c - start] =
          ClassOf(c, is_newer ? newer->category : static_cast<int>(utf8proc_category(static_cast<int32_t>(c))));
    }
    const auto [it, is_new] = seen.try_emplace(block, static_cast<uint16_t>(blocks_.size() >> 8));
    if (is_new) blocks_.insert(blocks_.end(), block.begin(), block.end());
    index_[start >> 8] = it->second;
  }
  std::copy_n(blocks_.begin(), 128, ascii_);
}

const CharTable& CharTable::Get() {
  static const CharTable table;
  return table;
}

void AppendUtf8(char32_t c, std::string& out) {
  if (c < 0x80) {
    out += static_cast<char>(c);
  } else if (c < 0x800) {
    out += static_cast<char>(0xc0 | (c >> 6));
    out += static_cast<char>(0x80 | (c & 0x3f));
  } else if (c < 0x10000) {
    out += static_cast<char>(0xe0 | (c >> 12));
    out += static_cast<char>(0x80 | ((c >> 6) & 0x3f));
    out += static_cast<char>(0x80 | (c & 0x3f));
  } else {
    out += static_cast<char>(0xf0 | (c >> 18));
    out += static_cast<char>(0x80 | ((c >> 12) & 0x3f));
    out += static_cast<char>(0x80 | ((c >> 6) & 0x3f));
    out += static_cast<char>(0x80 | (c & 0x3f));
  }
}

bool IsValidUtf8(std::string_view text) {
  const auto* p = reinterpret_cast<const unsigned char*>(text.data());
  const auto* end = p + text.size();
  while (p < end) {
    if (*p < 0x80) {
      uint64_t word;
      while (end - p >= 8 && (std::memcpy(&word, p, 8), (word & 0x8080808080808080u) == 0)) p += 8;
      while (p < end && *p < 0x80) ++p;
      continue;
    }
    const int length = *p < 0xe0 ? 2 : *p < 0xf0 ? 3 : 4;
    if (*p < 0xc2 || *p > 0xf4 || end - p < length) return false;
    const unsigned char low = *p == 0xe0 ? 0xa0 : *p == 0xf0 ? 0x90 : 0x80;
    const unsigned char high = *p == 0xed ? 0x9f : *p == 0xf4 ? 0x8f : 0xbf;
    if (p[1] < low || p[1] > high) return false;
    if (length > 2 && (p[2] & 0xc0) != 0x80) return false;
    if (length > 3 && (p[3] & 0xc0) != 0x80) return false;
    p += length;
  }
  return true;
}

void Utf8Repair::Push(std::string_view bytes, std::string& out) {
  for (const char c : bytes) {
    const auto b = static_cast<unsigned char>(c);
    if (missing_ > 0) {
      if (b >= low_ && b <= high_) {
        low_ = 0x80;
        high_ = 0xbf;
        held_[held_count_++] = c;
        if (--missing_ == 0) {
          out.append(held_, static_cast<size_t>(held_count_));
          held_count_ = 0;
        }
        continue;
      }
      Finish(out);
    }
    if (b < 0x80) {
      out += c;
    } else if (b < 0xc2 || b > 0xf4) {
      out += kReplacement;
    } else {
      held_[0] = c;
      held_count_ = 1;
      missing_ = b < 0xe0 ? 1 : b < 0xf0 ? 2 : 3;
      low_ = b == 0xe0 ? 0xa0 : b == 0xf0 ? 0x90 : 0x80;
      high_ = b == 0xed ? 0x9f : b == 0xf4 ? 0x8f : 0xbf;
    }
  }
}

void Utf8Repair::Finish(std::string& out) {
  if (missing_ > 0) out += kReplacement;
  held_count_ = missing_ = 0;
  low_ = 0x80;
  high_ = 0xbf;
}

std::string RepairUtf8(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size());
  Utf8Repair repair;
  repair.Push(bytes, out);
  repair.Finish(out);
  return out;
}

}  // namespace gannet
