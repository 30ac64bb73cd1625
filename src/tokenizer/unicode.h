// UTF-8 and the classes of code points that the tokenizers' regular expressions ask about.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace gannet {

enum CharClass : uint16_t {
  kLetter = 1 << 0,        // \p{L}
  kMark = 1 << 1,          // \p{M}
  kNumber = 1 << 2,        // \p{N}
  kPunct = 1 << 3,         // \p{P}
  kSymbol = 1 << 4,        // \p{S}
  kSpace = 1 << 5,         // White_Space
  kNewline = 1 << 6,       // \r \n
  kUpperish = 1 << 7,      // Lu Lt Lm Lo M
  kLowerish = 1 << 8,      // Ll Lm Lo M
  kKanaHan = 1 << 9,       // U+4E00..9FA5, U+3040..30FF: the range DeepSeek's tokenizers split off
  kWord = 1 << 10,         // \w: Alphabetic, M, Nd, Pc, Join_Control (UTS #18)
  kAsciiLetter = 1 << 11,  // A-Z a-z
  kAsciiSymbol = 1 << 12   // $ + < = > ^ ` | ~
};

// Classes by code point, of Unicode 16.0 (as Oniguruma 6.9.10 in HF tokenizers has it).
class CharTable {
 public:
  static const CharTable& Get();  // built on first use, in a few milliseconds

  uint16_t operator[](char32_t c) const {
    return c < 0x80 ? ascii_[c] : blocks_[(size_t{index_[c >> 8]} << 8) | (c & 0xff)];
  }
  uint16_t Ascii(unsigned char c) const { return ascii_[c]; }  // c < 0x80

 private:
  CharTable();
  uint16_t ascii_[128];
  uint16_t index_[0x1100];
  std::vector<uint16_t> blocks_;
};

// Length of the character a lead byte of valid UTF-8 begins.
inline int Utf8Length(char lead) {
  const auto b = static_cast<unsigned char>(lead);
  return b < 0x80 ? 1 : b < 0xe0 ? 2 : b < 0xf0 ? 3 : 4;
}
// The character at `p` of valid UTF-8.
inline char32_t DecodeUtf8(const char* p) {
  const auto* b = reinterpret_cast<const unsigned char*>(p);
  if (b[0] < 0x80) return b[0];
  if (b[0] < 0xe0) return char32_t((b[0] & 0x1f) << 6 | (b[1] & 0x3f));
  if (b[0] < 0xf0) return char32_t((b[0] & 0x0f) << 12 | (b[1] & 0x3f) << 6 | (b[2] & 0x3f));
  return char32_t((b[0] & 0x07) << 18 | (b[1] & 0x3f) << 12 | (b[2] & 0x3f) << 6 | (b[3] & 0x3f));
}
// `c` <= U+10FFFF.
void AppendUtf8(char32_t c, std::string& out);
bool IsValidUtf8(std::string_view text);

// Bytes in, valid UTF-8 out: each maximal part of an ill-formed sequence becomes one U+FFFD (Unicode 16.0, section
// 3.9, table 3-8). Holds at most three bytes back.
class Utf8Repair {
 public:
  void Push(std::string_view bytes, std::string& out);
  void Finish(std::string& out);  // what is held back becomes U+FFFD

 private:
  char held_[4] = {};
  int held_count_ = 0;
  int missing_ = 0;                         // bytes the held character still lacks
  unsigned char low_ = 0x80, high_ = 0xbf;  // what its next byte may be
};
std::string RepairUtf8(std::string_view bytes);

}  // namespace gannet
