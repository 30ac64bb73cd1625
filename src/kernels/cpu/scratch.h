// Memory that a thread reuses from call to call.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>

namespace gannet {

class Scratch {
 public:
  // At least `bytes` bytes, aligned to 64; what was there before is lost when it grows.
  std::byte* Get(int64_t bytes) {
    if (bytes > size_) {
      const int64_t grown = (std::max(bytes, size_ * 3 / 2) + 63) / 64 * 64;
      data_.reset();
      data_.reset(static_cast<std::byte*>(std::aligned_alloc(64, static_cast<size_t>(grown))));
      if (!data_) throw std::bad_alloc();
      size_ = grown;
    }
    return data_.get();
  }
  float* Floats(int64_t count) { return reinterpret_cast<float*>(Get(count * static_cast<int64_t>(sizeof(float)))); }

 private:
  struct Free {
    void operator()(std::byte* data) const { std::free(data); }
  };
  std::unique_ptr<std::byte, Free> data_;
  int64_t size_ = 0;
};

}  // namespace gannet
