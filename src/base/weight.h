// How a matrix lies in a checkpoint file, without a word about where it came from.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace gannet {

// Element storage of a matrix row. Block formats follow ggml's public block layouts (GGUF specification,
// ggml-common.h). The last line's have their scales in tensors of their own (Scales).
enum class Storage : uint8_t {
  kF32,
  kF16,
  kBF16,  // plain
  kQ8_0,
  kQ4_0,
  kQ4_1,
  kQ5_0,
  kQ5_1,
  kQ4_K,
  kQ5_K,
  kQ6_K,
  kMxfp4,  // blocks
  kE2M1,
  kE4M3,
  kI8,
  kU8,
  kU4,
  kAwq4,
  kGptq4,
  kGptq8  // scaled
};

struct StorageInfo {
  std::string_view name;  // "F32", "Q4_1", ...
  int64_t block_values;   // values along K per block; a row holds a whole number of blocks
  int64_t block_bytes;
  // Words of several rows or columns lie side by side: a view keeps `data` and counts from first_row and first_col.
  bool across = false;
};
const StorageInfo& InfoOf(Storage storage);

enum class ScaleType : uint8_t { kF32, kF16, kBF16, kE8M0, kE4M3 };
// Words of 32 / zero_bits zero points, lowest bits first or in AWQ's order. A zero point is what the word says + zero.
enum class ZeroLayout : uint8_t {
  kConstant,         // `zero` everywhere
  kGroupsByRows,     // [groups of columns][rows packed]
  kGroupsByRowsAwq,  // the same
  kRowsByGroups      // [rows packed][groups of columns]
};

// Scales of a matrix that lie beside its values: value (r, c) is code * scale * factor, or (code - zero point) * scale
// * factor, with the scale at element r / group_rows * row_step + c / group_cols * col_step of `data`.
struct Scales {
  ScaleType type = ScaleType::kF32;
  const std::byte* data = nullptr;
  int64_t group_rows = 1;
  int64_t group_cols = 1;
  int64_t row_step = 0;
  int64_t col_step = 1;
  float factor = 1;
  int64_t whole_rows = 0;               // of the matrix
  const std::byte* group_of = nullptr;  // int32 [columns]: the group of each, in place of c / group_cols
  ZeroLayout zero_layout = ZeroLayout::kConstant;
  const std::byte* zeros = nullptr;
  int64_t zero_step = 0;  // words from a row of them to the next
  int zero_bits = 4;
  int zero = 0;

  float at(int64_t index) const;  // element `index` of data, without `factor`
  // Of row `row` and column `column` of the whole matrix, where group_of is null.
  float at(int64_t row, int64_t column) const {
    return at(row / group_rows * row_step + column / group_cols * col_step);
  }
};

// A view of a matrix [rows, cols] (cols is K, the reduction axis). Row-major and dense unless col_bytes says otherwise:
// a transposed or interleaved view of float storage. Does not own `data`; whoever mapped the file keeps it alive. A
// vector is a matrix of one row.
struct Weight {
  Storage storage = Storage::kF32;
  int64_t rows = 0;
  int64_t cols = 0;
  const std::byte* data = nullptr;
  int64_t row_bytes = 0;  // from a row to the next
  int64_t col_bytes = 0;  // from an element of a row to the next; 0: the elements (or blocks) follow each other
  bool mapped = false;    // `data` lies in a mapped file, whose pages may be let go and come back
  // Of scaled storages. Row r and column c of this view are row first_row + r * row_stride and column first_col + c of
  // the matrix that `scales` describe.
  const Scales* scales = nullptr;
  int64_t first_row = 0;
  int64_t row_stride = 1;
  int64_t first_col = 0;
  // Writes row `row` as `cols` floats. Set by checkpoint/formats; the definition of what the bytes mean.
  void (*dequantize_row)(const Weight& weight, int64_t row, float* out) = nullptr;

  const std::byte* row(int64_t r) const { return data + r * row_bytes; }
  int64_t whole_row(int64_t r) const { return first_row + r * row_stride; }  // of the matrix that `scales` describe
  // Of its elements, wherever they lie.
  int64_t bytes() const { return rows * (cols / InfoOf(storage).block_values * InfoOf(storage).block_bytes); }
  bool dense() const { return col_bytes == 0; }
  // Its bytes where they follow each other, else empty.
  std::span<const std::byte> in_one_piece() const {
    if (!dense() || (rows > 1 && row_bytes * rows != bytes())) return {};
    return {data, static_cast<size_t>(bytes())};
  }
};

}  // namespace gannet
