// How a matrix lies in a checkpoint file, without a word about where it came from.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace gannet {

// Element storage of a matrix row. Block formats follow ggml's public block layouts (GGUF specification,
// ggml-common.h).
enum class Storage : uint8_t { kF32, kF16, kBF16, kQ8_0, kQ4_0, kQ4_1, kQ5_0, kQ5_1, kQ4_K, kQ5_K, kQ6_K };

struct StorageInfo {
  std::string_view name;  // "F32", "Q4_1", ...
  int64_t block_values;   // values along K per block; a row holds a whole number of blocks
  int64_t block_bytes;
};
const StorageInfo& InfoOf(Storage storage);

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
  // Writes row `row` as `cols` floats. Set by checkpoint/formats; the definition of what the bytes mean.
  void (*dequantize_row)(const Weight& weight, int64_t row, float* out) = nullptr;

  const std::byte* row(int64_t r) const { return data + r * row_bytes; }
  // Of its elements, wherever they lie.
  int64_t bytes() const { return rows * (cols / InfoOf(storage).block_values * InfoOf(storage).block_bytes); }
  bool dense() const { return col_bytes == 0; }
};

}  // namespace gannet
