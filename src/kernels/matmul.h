// Matrix products of activations (fp32 rows) with stored weights.
//
//   out[m, n] (+)= sum_k x[m, k] * w[n, k]  (+ bias[n])
//
// or, of two weights, the gated product of a feed-forward layer.
//
// The reference table multiplies as written. The fast ones first round x for weights of Q8_0, Q4_0, Q4_1, int8 by
// channel and 4-bit integers in groups, in blocks of 32, to multiples of max|x| / 32258, for those of MXFP4 to
// multiples of max|x| / 127 (cpu/matmul_leaves.h); for other weights they use x as it is.
//
// One reduction order: the order of additions for an output element depends on K (and the weight's storage) alone,
// never on m, on the number of rows, of threads, or on the other targets of the call.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "base/thread_pool.h"
#include "base/weight.h"
#include "spec/layer_spec.h"

namespace gannet {

enum class Operands : uint8_t { kInt8, kBf16, kFp32 };
constexpr const char* NameOf(Operands operands) {
  return operands == Operands::kInt8 ? "int8" : operands == Operands::kBf16 ? "bf16" : "fp32";
}

// A weight made ready by one kernel table's `pack`; only that table's `matmul` reads it. A table that lays weights out
// anew does so part by part, when a product first needs the part.
class PackedMatrix {
 public:
  virtual ~PackedMatrix() = default;
  int64_t rows() const { return rows_; }  // N
  int64_t cols() const { return cols_; }  // K
  virtual int64_t bytes() const = 0;      // streamed for one full product of a single row
  // What that product reads; empty where it does not lie in one piece or is still to be laid out.
  virtual std::span<const std::byte> streamed() const { return {}; }
  virtual bool owns_memory() const = 0;  // true: the weight's own bytes are not read again
  virtual void Settle(ThreadPool&) {}    // lays out now what is left, in parallel
  // Whether products keep the parts they lay out, as they do at first, or forget them: that takes no memory, whose
  // fresh pages cost more than the work. Not while a product runs.
  virtual void set_keeps(bool) {}
  virtual Operands operands() const { return Operands::kFp32; }  // what its products are of
  virtual const char* kernel() const = 0;                        // for reports: "q4_1 x int8 avx512vnni", ...

 protected:
  PackedMatrix(int64_t rows, int64_t cols) : rows_(rows), cols_(cols) {}

 private:
  int64_t rows_;
  int64_t cols_;
};

struct MatmulTarget {
  const PackedMatrix* weight = nullptr;  // [N, K]
  float* out = nullptr;                  // [m, N]
  int64_t out_stride = 0;                // floats between rows of out
  const float* bias = nullptr;           // [N], or null
  bool accumulate = false;               // add to what out holds (after bias is added to the product)
  // With `up`, [N, K] as weight is: out = activation(product with weight) * product with up, as gated_activation has
  // them, each with its bias; nothing is accumulated.
  const PackedMatrix* up = nullptr;
  const float* up_bias = nullptr;  // [N], or null
  ActivationSpec activation = {};
};

// Products of the same rows with several weights of the same K.
struct MatmulArgs {
  const float* x = nullptr;  // [m, K]
  int64_t x_stride = 0;      // floats between rows of x
  int64_t m = 0;
  int64_t k = 0;
  std::span<const MatmulTarget> targets;
  std::span<const int32_t> gather = {};  // [m] or empty: row i of the product is row gather[i] of x
};

}  // namespace gannet
