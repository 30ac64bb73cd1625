// Which rows see which keys of a sequence, in two numbers for each key: the rows [first, end) that see it. Half the
// memory of the four columns of FlashMask (arXiv 2410.01359); the two-column mask of FastDeploy #7371.
//
// A mask is monotone when neither number falls from one key to the next. Its rows then see consecutive keys: those up
// to the last with first <= row, from the first one with end > row on. Kernels read it row by row (KeySpan), and a
// layer's window cuts each row's keys further. Causal, the default, is first = key, end = never.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <vector>

#include "base/result.h"
#include "kernels/attention.h"

namespace gannet {

struct KeyRows {
  static constexpr int32_t kNever = std::numeric_limits<int32_t>::max();
  int32_t first = 0;
  int32_t end = kNever;
  bool operator==(const KeyRows&) const = default;
};

// Tokens [begin, end) of a prompt.
struct TokenSpan {
  int64_t begin = 0;
  int64_t end = 0;
};

class AttentionMask {
 public:
  AttentionMask() = default;  // causal

  // Columns of keys 0, 1, ...; keys behind them are seen causally. Error: the columns are not monotone; names the key.
  static Result<AttentionMask> OfColumns(std::vector<KeyRows> columns);
  // seen[row * keys + key] != 0: the row sees the key. Errors, each naming rows and keys: rows of a key or keys of a
  // row that are not consecutive, rows that go back to earlier keys.
  static Result<AttentionMask> OfDense(std::span<const uint8_t> seen, int64_t rows, int64_t keys);
  // Causal, but every row of a span sees all of the span. Spans ascend and do not overlap (asserted).
  static AttentionMask Bidirectional(std::span<const TokenSpan> spans);

  // The keys that row `row` sees: of the window's layers those with |row - key| < window. Empty is {n, n}.
  KeySpan Seen(int64_t row, std::optional<int64_t> window = std::nullopt) const;
  // Where rows [first, ...) may be cut without a row seeing keys behind the cut: the last such place up to `most`, or,
  // when there is none, the next one after it.
  int64_t Cut(int64_t first, int64_t most) const;
  // Rows before this one see the keys up to themselves, as without a mask.
  int64_t causal_rows() const;
  const std::vector<KeyRows>& columns() const { return columns_; }

 private:
  explicit AttentionMask(std::vector<KeyRows> columns) : columns_(std::move(columns)) {}
  std::vector<KeyRows> columns_;
};

}  // namespace gannet
