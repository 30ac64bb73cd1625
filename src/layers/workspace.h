// Scratch of one step, sized once by the workspace plan.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <new>

namespace gannet {

// A 64-byte aligned array of floats. Debug builds fill it with NaN on Poison, so that a layer that reads what its step
// did not write shows.
class FloatBuffer {
 public:
  FloatBuffer() = default;
  explicit FloatBuffer(int64_t count) : count_(count), data_(Allocate(count)) {}

  float* data() { return data_.get(); }
  const float* data() const { return data_.get(); }
  int64_t size() const { return count_; }
  void Poison() {
#ifndef NDEBUG
    if (count_ > 0) std::memset(data_.get(), 0xff, static_cast<size_t>(count_) * sizeof(float));
#endif
  }

 private:
  struct Free {
    void operator()(float* data) const { ::operator delete[](data, std::align_val_t{64}); }
  };
  static float* Allocate(int64_t count) {
    return static_cast<float*>(::operator new[](static_cast<size_t>(count) * sizeof(float), std::align_val_t{64}));
  }

  int64_t count_ = 0;
  std::unique_ptr<float[], Free> data_;
};

// Rows of a step between operations; widths are the workspace plan's.
struct Buffers {
  FloatBuffer hidden;     // [rows, hidden] the residual stream
  FloatBuffer normed;     // [rows, hidden]
  FloatBuffer q;          // [rows, query_heads * key_dim]
  FloatBuffer k;          // [rows, kv_heads * key_dim]
  FloatBuffer v;          // [rows, kv_heads * value_dim]
  FloatBuffer attention;  // [rows, query_heads * value_dim]
  FloatBuffer gate;       // [rows, ffn width]
  FloatBuffer up;         // [rows, ffn width]
};

}  // namespace gannet
