// Matrices written in quantized formats: the other direction of siblings.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace gannet {

// Rows [first, first + count) of a matrix [n, k].
struct MatrixRows {
  const float* w;  // [count, k]
  int64_t first;
  int64_t count;
  int64_t n;
  int64_t k;
  float largest;  // at least |w| of the whole matrix; read by formats with one scale for all of it
};

// One of the tensors that a matrix becomes.
struct EncodedPart {
  std::string_view ending;  // of its name, after the module's: ".weight_scale"
  std::string_view dtype;   // as safetensors spells it
  // Of a matrix [N, K], or of [E, N, K] where a tensor holds the experts of a layer.
  std::vector<int64_t> (*shape)(std::span<const int64_t> matrix);
};

// Who wrote the format first, and so how config.json speaks of it.
enum class QuantDialect { kQuark, kDeepSeek, kModelOpt, kCompressedTensors, kAwq, kGptq, kGptOss };

// How a matrix lies in a safetensors file. Every value goes to the nearest code of its group.
struct Encoder {
  std::string_view flag;  // "mxfp4"
  QuantDialect dialect;
  std::string_view dtype;              // of the joined tensor (siblings.h)
  std::span<const EncodedPart> parts;  // the values first
  int64_t group_rows;                  // rows encoded together; N is a multiple where the values lie along N
  int64_t group_cols;                  // values along K that share a scale, K being a multiple; 1 where any K goes
  bool along_n;                        // values of one column lie together (AWQ, GPTQ)
  bool wants_largest;
  // Encodes count <= group_rows rows from a multiple of group_rows on. values: of row rows.first, or of row 0 if
  // along_n. others[i]: where parts[i + 1] begins.
  void (*encode)(const MatrixRows& rows, std::byte* values, std::byte* const* others);

  bool fits(int64_t n, int64_t k) const { return k % group_cols == 0 && (!along_n || n % group_rows == 0); }
};

// By the flag's name; null when there is none.
//   mxfp4         Quark (OCP MX 1.0): scale 2^(floor(log2 max|w|) - 2) of 32
//   nvfp4         ModelOpt and Quark: scale e4m3 of 16, times max|w| / (6 * 448) of the matrix
//   nvfp4-packed  compressed-tensors: the same by the reciprocal
//   fp8-block     DeepSeek-V3: scale max|w| / 448 of 128 x 128
//   fp8-channel   compressed-tensors: of a row; fp8-tensor: of the matrix
//   int8          Quark: scale max|w| / 127 of a row
//   int4          compressed-tensors: scale max|w| / 7 of 32
//   awq           scale and zero point of 128; gptq: scale max|w| / 7 of 128
const Encoder* FindEncoder(std::string_view flag);
std::string EncoderNames();  // "mxfp4, nvfp4, ..."
// mxfp4 of the experts of a layer [E, N, K], as gpt-oss has them.
const Encoder& GptOssEncoder();

}  // namespace gannet
