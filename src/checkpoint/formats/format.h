// The table of formats: which tensors can be weights, and what their bytes mean. A new format is a Storage, a row
// dequantizer in a file beside this one, and a line in format.cc.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "base/weight.h"
#include "checkpoint/checkpoint.h"

namespace gannet {

struct Format {
  std::string_view dtype;  // as safetensors and GGUF spell it, or siblings.h
  bool scaled;             // with scales beside
  Storage storage;
  void (*dequantize_row)(const Weight& weight, int64_t row, float* out);  // out: weight.cols floats
};

std::span<const Format> Formats();
const Format* FindFormat(std::string_view dtype, bool scaled = false);

// The tensor as a matrix: its last dimension is K, the product of the others the number of rows; a vector or scalar
// has one row. Throws LoadError("checkpoint", ...) naming file, tensor and dtype when no format reads it, it holds no
// values, or its rows are not whole blocks.
Weight MakeWeight(const StoredTensor& tensor);

}  // namespace gannet
