// Which tensors a model needs: a pure function of the spec.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "spec/layer_spec.h"

namespace gannet {

std::string_view NameOf(Slot slot);

enum class NameStyle { kHuggingFace, kGguf };

// One weight of the maths: a matrix [rows, cols], or a vector of one row, inside a tensor of the file. Element (r, c)
// is element offset + r * row_step + c * col_step of the tensor.
struct PlannedTensor {
  int layer = -1;  // -1: of the whole model
  Slot slot = Slot::kEmbedding;
  int index = 0;               // expert or head
  std::string name = {};       // in the file
  std::vector<int64_t> shape;  // of the file's tensor, outermost first
  int64_t rows = 1;            // N; 1 for vectors
  int64_t cols = 0;            // K
  int64_t offset = 0;
  int64_t row_step = 0;
  int64_t col_step = 1;
};
bool IsVector(Slot slot);  // norms, biases, sinks, divisors
bool IsNorm(Slot slot);    // multiplies a normalized row: around 1
std::vector<PlannedTensor> PlanTensors(const ModelSpec& spec, NameStyle style);

// The tensors of the file, each once, in the order of the plan.
struct FileTensor {
  std::string name;
  std::vector<int64_t> shape;
  Slot slot = Slot::kEmbedding;  // of the first weight in it
  bool transposed = false;       // [E, K, N]: experts whose outputs lie together
  int64_t values() const;
};
std::vector<FileTensor> FileTensors(const std::vector<PlannedTensor>& plan);
// A count, then one line "name [rows, cols]" for each tensor of the file; the experts of a layer share a line.
std::string Describe(const std::vector<PlannedTensor>& plan);

}  // namespace gannet
