// Matrices written in quantized formats: the other direction of siblings.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace gannet {

// How a matrix [N, K] lies in a safetensors file as two tensors, values and scales. Rows are encoded in groups of
// `group_rows`, each by itself; what they become follows one another in both tensors.
struct Encoder {
  std::string_view flag;           // "mxfp4", "fp8-block", "int8"
  std::string_view dtype;          // of the joined tensor (siblings.h)
  std::string_view values_dtype;   // of "x.weight", as safetensors spells it
  std::string_view scales_ending;  // "_scale" of "x.weight_scale"
  std::string_view scales_dtype;
  int64_t group_rows;
  int64_t group_cols;  // values along K that share a scale; 0: all
  std::vector<int64_t> (*values_shape)(int64_t n, int64_t k);
  std::vector<int64_t> (*scales_shape)(int64_t n, int64_t k);
  int64_t values_per_byte;
  int64_t scale_bytes;
  // Encodes `rows` <= group_rows rows of K floats.
  //   mxfp4 (OCP MX 1.0): scale 2^(floor(log2 max|w|) - 2), values to the nearest, ties to even codes;
  //   fp8-block (DeepSeek-V3): scale max|w| / 448, values to the nearest e4m3;
  //   int8: scale max|w| / 127 of a row.
  void (*encode)(const float* w, int64_t rows, int64_t k, std::byte* values, std::byte* scales);

  bool fits(int64_t k) const { return values_per_byte == 1 || k % 32 == 0; }
  // Of whole groups of rows, the last one of a matrix aside.
  int64_t value_bytes(int64_t rows, int64_t k) const { return rows * k / values_per_byte; }
  int64_t scales_of(int64_t rows, int64_t k) const {  // bytes
    const int64_t columns = group_cols == 0 ? 1 : (k + group_cols - 1) / group_cols;
    return (rows + group_rows - 1) / group_rows * columns * scale_bytes;
  }
};

// By the flag's name; null when there is none.
const Encoder* FindEncoder(std::string_view flag);

}  // namespace gannet
