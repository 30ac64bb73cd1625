// The two-column mask against its dense definition.
#include "kernels/attention_mask.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace gannet {
namespace {

struct Dense {
  int64_t rows = 0;
  int64_t keys = 0;
  std::vector<uint8_t> seen;
  Dense(int64_t rows_in, int64_t keys_in)
      : rows(rows_in), keys(keys_in), seen(static_cast<size_t>(rows_in * keys_in), 0) {}
  uint8_t& at(int64_t row, int64_t key) { return seen[static_cast<size_t>(row * keys + key)]; }
  Result<AttentionMask> Mask() const { return AttentionMask::OfDense(seen, rows, keys); }
};

// What a row sees, one key at a time.
std::vector<int64_t> Keys(KeySpan span) {
  std::vector<int64_t> keys;
  for (int64_t key = span.begin; key < span.end; ++key) keys.push_back(key);
  return keys;
}

// Neither end of what the rows see falls; some see nothing, and there may be keys that nobody sees.
Dense RandomMonotone(std::mt19937& random) {
  const auto upto = [&](int64_t most) { return std::uniform_int_distribution<int64_t>(0, most)(random); };
  Dense dense(1 + upto(12), 1 + upto(15));
  int64_t begin = 0;
  int64_t end = 0;
  for (int64_t row = 0; row < dense.rows; ++row) {
    begin = std::min(dense.keys, begin + (upto(2) == 0 ? upto(3) : 0));
    end = std::min(dense.keys, std::max({begin, end, end + upto(3) - 1}));
    for (int64_t key = begin; key < end; ++key) dense.at(row, key) = upto(9) > 0 || key > begin;
  }
  return dense;
}

TEST(AttentionMask, EqualsEveryMonotoneDenseMask) {
  std::mt19937 random(7);
  int accepted = 0;
  for (int trial = 0; trial < 4000; ++trial) {
    Dense dense = RandomMonotone(random);
    const Result<AttentionMask> mask = dense.Mask();
    if (!mask.ok()) continue;  // a hole that two columns cannot say: the next test's affair
    ++accepted;
    ASSERT_EQ(std::ssize(mask.value().columns()), dense.keys);
    for (int64_t row = 0; row < dense.rows; ++row) {
      for (const std::optional<int64_t> window : {std::optional<int64_t>(), std::optional<int64_t>(3)}) {
        std::vector<int64_t> want;
        for (int64_t key = 0; key < dense.keys; ++key) {
          if (dense.at(row, key) != 0 && (!window || std::abs(row - key) < *window)) want.push_back(key);
        }
        // Rows may also see keys behind the mask's own, causally.
        std::vector<int64_t> got = Keys(mask.value().Seen(row, window));
        std::erase_if(got, [&](int64_t key) { return key >= dense.keys; });
        ASSERT_EQ(got, want) << "trial " << trial << ", row " << row;
      }
    }
  }
  EXPECT_GT(accepted, 2000);
}

TEST(AttentionMask, AcceptsExactlyWhatTwoColumnsSay) {
  // Every mask of three rows and three keys: accepted iff keys' rows and rows' keys are consecutive and never go back.
  int accepted = 0;
  for (int bits = 0; bits < 512; ++bits) {
    Dense dense(3, 3);
    for (int i = 0; i < 9; ++i) dense.seen[static_cast<size_t>(i)] = (bits >> i) & 1;
    const auto consecutive = [](uint8_t a, uint8_t b, uint8_t c) { return a == 0 || b != 0 || c == 0; };
    bool sayable = true;
    for (int64_t i = 0; i < 3; ++i) {
      sayable &= consecutive(dense.at(i, 0), dense.at(i, 1), dense.at(i, 2));
      sayable &= consecutive(dense.at(0, i), dense.at(1, i), dense.at(2, i));
    }
    // Some pair of rows a < b and keys i < j with a seeing j, b seeing i, but b not j or a not i: it goes back.
    for (int64_t a = 0; a < 3; ++a) {
      for (int64_t b = a + 1; b < 3; ++b) {
        for (int64_t i = 0; i < 3; ++i) {
          for (int64_t j = i + 1; j < 3; ++j) {
            const bool crossed = dense.at(a, j) != 0 && dense.at(b, i) != 0;
            sayable &= !crossed || (dense.at(a, i) != 0 && dense.at(b, j) != 0);
          }
        }
      }
    }
    accepted += sayable;
    EXPECT_EQ(dense.Mask().ok(), sayable) << "mask " << bits;
  }
  EXPECT_GT(accepted, 50);
}

TEST(AttentionMask, CausalIsTheDefault) {
  const AttentionMask mask;
  for (int64_t row : {0, 1, 63, 64, 1000}) {
    EXPECT_EQ(Keys(mask.Seen(row)).size(), static_cast<size_t>(row + 1));
    const KeySpan seen = mask.Seen(row, 64);
    EXPECT_EQ(seen.begin, std::max<int64_t>(0, row - 63));
    EXPECT_EQ(seen.end, row + 1);
  }
  EXPECT_EQ(mask.Cut(10, 17), 17);
  EXPECT_EQ(mask.causal_rows(), KeyRows::kNever);
}

// A batch of two requests, the second with four cached keys: get_attn_mask_q's own example (FastDeploy #7371).
TEST(AttentionMask, PackedRequestsKeepToThemselves) {
  Dense dense(5, 7);
  for (int64_t row = 0; row < 3; ++row) {
    for (int64_t key = 0; key <= row; ++key) dense.at(row, key) = 1;
  }
  for (int64_t row = 3; row < 5; ++row) {
    for (int64_t key = 3; key <= row + 2; ++key) dense.at(row, key) = 1;
  }
  const std::vector<KeyRows> want{{0, 3}, {1, 3}, {2, 3}, {3, 5}, {3, 5}, {3, 5}, {4, 5}};
  EXPECT_EQ(dense.Mask().value().columns(), want);
}

TEST(AttentionMask, SpansSeeAllOfThemselvesAndAreNeverCut) {
  const std::vector<TokenSpan> spans{{3, 6}, {6, 8}, {20, 21}};
  const AttentionMask mask = AttentionMask::Bidirectional(spans);
  const std::vector<int32_t> ends{1, 2, 3, 6, 6, 6, 8, 8, 9, 10};
  for (size_t row = 0; row < ends.size(); ++row) {
    EXPECT_EQ(mask.Seen(static_cast<int64_t>(row)).begin, 0);
    EXPECT_EQ(mask.Seen(static_cast<int64_t>(row)).end, ends[row]) << row;
  }
  EXPECT_EQ(mask.Seen(4, 2).begin, 3);
  EXPECT_EQ(mask.Seen(4, 2).end, 6);
  EXPECT_EQ(mask.Seen(3, 2).end, 5);  // a window reaches as far ahead as back
  EXPECT_EQ(mask.Cut(0, 2), 2);
  EXPECT_EQ(mask.Cut(0, 5), 3);
  EXPECT_EQ(mask.Cut(3, 4), 6);  // no place before: the next one
  EXPECT_EQ(mask.Cut(3, 7), 6);
  EXPECT_EQ(mask.Cut(3, 8), 8);
  EXPECT_EQ(mask.causal_rows(), 3);
}

TEST(AttentionMask, SaysWhyNot) {
  Dense hole(3, 1);
  hole.at(0, 0) = hole.at(2, 0) = 1;
  EXPECT_EQ(hole.Mask().error().message,
            "key 0 is seen by rows 0 and 2, but not by row 1 between them: two columns cannot say that");
  Dense gap(1, 3);
  gap.at(0, 0) = gap.at(0, 2) = 1;
  EXPECT_EQ(gap.Mask().error().message,
            "row 0 sees keys 0 and 2, but not key 1 between them: two columns cannot say that");
  EXPECT_EQ(AttentionMask::OfColumns({{2, 3}, {0, 3}}).error().message,
            "key 0 is seen by rows 2 to 2 and key 1 by rows 0 to 2: a mask of two columns must not go back");
}

}  // namespace
}  // namespace gannet
