// Byte-pair encoding of one word: the pair of lowest rank is merged first, the leftmost of equals (arXiv 1508.07909).
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "tokenizer/token_table.h"

namespace gannet {

struct BpeOptions {
  bool byte_level = false;     // symbols are bytes, spelled as GPT-2's 256 characters; otherwise characters
  bool byte_fallback = false;  // an unknown character becomes <0xNN> tokens
  bool fuse_unk = false;       // neighbouring unknown characters become one unk
  bool ignore_merges = false;  // a word that is a token is that token
  int32_t unk = -1;            // an unknown character without it is dropped
};

struct BpeMerge {
  int32_t left, right, result;
  uint32_t rank;
};

class Bpe {
 public:
  // `texts`: the spelling of every id. `words`: the ids that text may become. The merges are copied. A repeated pair
  // takes its last merge.
  Bpe(const StringList& texts, std::span<const int32_t> words, std::span<const BpeMerge> merges,
      const BpeOptions& options);

  void Encode(std::string_view word, std::vector<int32_t>& out) const;  // appends; `word` is valid UTF-8

 private:
  struct Merged {
    uint32_t rank = UINT32_MAX;
    int32_t id = -1;
  };
  struct Slot {
    uint64_t key = UINT64_MAX;  // left << 32 | right
    Merged merged;
  };
  enum Whole : uint8_t { kUnknown, kYes, kNo };

  Merged FindPair(int32_t left, int32_t right) const {
    const uint64_t key = uint64_t{static_cast<uint32_t>(left)} << 32 | static_cast<uint32_t>(right);
    for (size_t i = (key * 0x9E3779B97F4A7C15u) >> shift_;; i = (i + 1) & (pairs_.size() - 1)) {
      if (pairs_[i].key == key) return pairs_[i].merged;
      if (pairs_[i].key == UINT64_MAX) return {};
    }
  }
  int32_t IdOfBytes(std::string_view bytes) const;  // of one character, or -1
  template <typename Out>
  void CharSymbols(std::string_view word, Out push) const;
  int MergeShort(int32_t* ids, int count) const;
  void MergeLong(std::vector<int32_t>& ids) const;

  BpeOptions options_;
  StringList bytes_;  // of every id: the bytes of text it stands for; empty if it stands for none
  TokenTable words_;
  size_t longest_ = 0;                  // bytes of the longest word
  std::array<int32_t, 256> byte_ids_;   // byte level: the id of a byte; otherwise: of <0xNN>; or -1
  std::array<int32_t, 128> ascii_ids_;  // the id of an ASCII character, or -1
  std::vector<Slot> pairs_;
  int shift_ = 0;
  std::vector<Merged> byte_pairs_;  // byte level: the merge of two bytes, by left << 8 | right
  // Whether merging the bytes of a token gives that token: found out when first asked, the same from any thread.
  std::unique_ptr<std::atomic<uint8_t>[]> whole_;
};

// The bytes that GPT-2's byte-level spelling stands for; false when a character of `text` is not one of its 256.
bool BytesOfByteLevel(std::string_view text, std::string& bytes);
// 0..255 for "<0xNN>", else -1.
int ByteOfHexToken(std::string_view text);

}  // namespace gannet
