#include "tokenizer/bpe.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>

namespace gannet {
namespace {

// Merges the leftmost pair of lowest rank, again and again.
std::vector<int32_t> Naive(std::vector<int32_t> ids, const std::map<std::pair<int32_t, int32_t>, BpeMerge>& merges) {
  while (true) {
    size_t best = 0;
    uint32_t rank = UINT32_MAX;
    for (size_t i = 0; i + 1 < ids.size(); ++i) {
      const auto it = merges.find({ids[i], ids[i + 1]});
      if (it != merges.end() && it->second.rank < rank) {
        best = i;
        rank = it->second.rank;
      }
    }
    if (rank == UINT32_MAX) return ids;
    ids[best] = merges.at({ids[best], ids[best + 1]}).result;
    ids.erase(ids.begin() + static_cast<std::ptrdiff_t>(best) + 1);
  }
}

TEST(Bpe, EqualsTheNaiveLoop) {
  std::mt19937 random(11);
  for (int trial = 0; trial < 60; ++trial) {
    const bool byte_level = trial % 2;
    StringList texts;
    std::vector<std::string> spelled = {"a", "b", "c", "d"};
    std::map<std::pair<int32_t, int32_t>, BpeMerge> by_pair;
    std::vector<BpeMerge> merges;
    std::map<std::string, int32_t> ids;
    for (int32_t i = 0; i < 4; ++i) ids[spelled[static_cast<size_t>(i)]] = i;
    for (uint32_t rank = 0; rank < 40; ++rank) {
      const auto left = static_cast<int32_t>(random() % spelled.size());
      const auto right = static_cast<int32_t>(random() % spelled.size());
      if (by_pair.count({left, right})) continue;
      const std::string whole = spelled[static_cast<size_t>(left)] + spelled[static_cast<size_t>(right)];
      if (whole.size() > 40) continue;
      const auto [it, is_new] = ids.try_emplace(whole, static_cast<int32_t>(spelled.size()));
      if (is_new) spelled.push_back(whole);
      const BpeMerge merge{left, right, it->second,
                           trial % 3 ? rank : rank / 4};  // equal ranks: SentencePiece has them
      merges.push_back(merge);
      by_pair[{left, right}] = merge;
    }
    std::vector<int32_t> words;
    for (const std::string& text : spelled) {
      words.push_back(static_cast<int32_t>(words.size()));
      texts.Add(text);
    }
    const Bpe bpe(texts, words, merges, {.byte_level = byte_level});
    for (int k = 0; k < 200; ++k) {
      const size_t length = k < 180 ? random() % 20 : 120 + random() % 200;  // 128 symbols: the other algorithm
      std::string word;
      std::vector<int32_t> symbols;
      for (size_t i = 0; i < length; ++i) {
        symbols.push_back(static_cast<int32_t>(random() % 4));
        word += static_cast<char>('a' + symbols.back());
      }
      std::vector<int32_t> found = {7};
      bpe.Encode(word, found);
      std::vector<int32_t> expected = Naive(symbols, by_pair);
      expected.insert(expected.begin(), 7);
      ASSERT_EQ(found, expected) << word;
      found.resize(1);
      bpe.Encode(word, found);  // now that it is known which tokens are words
      ASSERT_EQ(found, expected) << word;
    }
  }
}

TEST(Bpe, ByteLevelSpellsEveryByte) {
  std::vector<bool> seen(256);
  for (char32_t c = 0; c < 0x200; ++c) {
    std::string text, bytes;
    if (c < 0x80) {
      text += static_cast<char>(c);
    } else {
      text += static_cast<char>(0xc0 | (c >> 6));
      text += static_cast<char>(0x80 | (c & 0x3f));
    }
    if (!BytesOfByteLevel(text, bytes)) continue;
    ASSERT_EQ(bytes.size(), 1u);
    EXPECT_FALSE(seen[static_cast<unsigned char>(bytes[0])]);
    seen[static_cast<unsigned char>(bytes[0])] = true;
  }
  EXPECT_EQ(std::count(seen.begin(), seen.end(), true), 256);
  std::string bytes;
  EXPECT_TRUE(BytesOfByteLevel("\u0120a\u010a", bytes));
  EXPECT_EQ(bytes, " a\n");
  EXPECT_FALSE(BytesOfByteLevel("a b", bytes));
}

TEST(Bpe, HexTokens) {
  EXPECT_EQ(ByteOfHexToken("<0x0A>"), 10);
  EXPECT_EQ(ByteOfHexToken("<0xfF>"), 255);
  for (const char* text : {"", "<0x0A", "<0xG0>", "<0x0A>>", "0x0A", "<0x+1>"})
    EXPECT_EQ(ByteOfHexToken(text), -1) << text;
}

}  // namespace
}  // namespace gannet
