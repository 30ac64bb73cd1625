#include "kernels/attention_mask.h"

#include <fmt/format.h>

#include <algorithm>

namespace gannet {

Result<AttentionMask> AttentionMask::OfColumns(std::vector<KeyRows> columns) {
  for (size_t key = 1; key < columns.size(); ++key) {
    const KeyRows& before = columns[key - 1];
    const KeyRows& here = columns[key];
    if (here.first >= before.first && here.end >= before.end) continue;
    return Error{
        fmt::format("key {} is seen by rows {} to {} and key {} by rows {} to {}: a mask of two columns must "
                    "not go back",
                    key - 1, before.first, before.end - 1, key, here.first, here.end - 1)};
  }
  return AttentionMask(std::move(columns));
}

Result<AttentionMask> AttentionMask::OfDense(std::span<const uint8_t> seen, int64_t rows, int64_t keys) {
  const auto sees = [&](int64_t row, int64_t key) { return seen[static_cast<size_t>(row * keys + key)] != 0; };
  std::vector<KeyRows> columns;
  for (int64_t key = 0; key < keys; ++key) {
    KeyRows column{-1, -1};
    for (int64_t row = 0; row < rows; ++row) {
      if (!sees(row, key)) continue;
      if (column.first < 0) column = {static_cast<int32_t>(row), static_cast<int32_t>(row)};
      if (column.end != row) {
        return Error{
            fmt::format("key {} is seen by rows {} and {}, but not by row {} between them: two columns cannot "
                        "say that",
                        key, column.first, row, column.end)};
      }
      column.end = static_cast<int32_t>(row + 1);
    }
    // A key that nobody sees goes where it disturbs no row.
    if (column.first < 0) column.first = column.end = columns.empty() ? 0 : columns.back().end;
    columns.push_back(column);
  }
  for (int64_t row = 0; row < rows; ++row) {
    int64_t last = -1;
    for (int64_t key = 0; key < keys; ++key) {
      if (!sees(row, key)) continue;
      if (last >= 0 && last + 1 != key) {
        return Error{fmt::format("row {} sees keys {} and {}, but not key {} between them: two columns cannot say that",
                                 row, last, key, last + 1)};
      }
      last = key;
    }
  }
  return OfColumns(std::move(columns));
}

AttentionMask AttentionMask::Bidirectional(std::span<const TokenSpan> spans) {
  std::vector<KeyRows> columns;
  for (const TokenSpan& span : spans) {
    GANNET_ASSERT(span.begin >= std::ssize(columns) && span.end > span.begin, "spans ascend and do not overlap");
    for (int64_t key = std::ssize(columns); key < span.end; ++key) {
      columns.push_back({static_cast<int32_t>(std::min(key, span.begin)), KeyRows::kNever});
    }
  }
  return AttentionMask(std::move(columns));
}

KeySpan AttentionMask::Seen(int64_t row, std::optional<int64_t> window) const {
  const int64_t known = std::ssize(columns_);
  const auto first = std::ranges::upper_bound(columns_, row, {}, &KeyRows::end);     // its rows go beyond `row`
  const auto behind = std::ranges::upper_bound(columns_, row, {}, &KeyRows::first);  // not reached yet
  int64_t begin = first - columns_.begin();
  int64_t end = behind == columns_.end() ? std::max(known, row + 1) : behind - columns_.begin();
  if (window) {
    begin = std::max(begin, row - *window + 1);
    end = std::min(end, row + *window);
  }
  return {static_cast<int32_t>(std::min(begin, end)), static_cast<int32_t>(end)};
}

int64_t AttentionMask::Cut(int64_t first, int64_t most) const {
  const auto whole = [this](int64_t end) { return Seen(end - 1).end <= end; };
  for (int64_t end = most; end > first; --end) {
    if (whole(end)) return end;
  }
  int64_t end = most + 1;
  while (!whole(end)) ++end;
  return end;
}

int64_t AttentionMask::causal_rows() const {
  int64_t rows = KeyRows::kNever;
  for (size_t i = 0; i < columns_.size(); ++i) {
    const int64_t key = static_cast<int64_t>(i);
    if (columns_[i].first != key) rows = std::min({rows, key, int64_t{columns_[i].first}});
    rows = std::min(rows, int64_t{columns_[i].end});
  }
  return rows;
}

}  // namespace gannet
