// F32, F16, BF16: one value, one element.
#include <cstring>

#include "base/dtype.h"
#include "checkpoint/formats/dequantize.h"
#include "checkpoint/formats/half.h"

namespace gannet {

void DequantizeRowF32(const Weight& weight, int64_t row, float* out) {
  if (weight.dense()) {
    std::memcpy(out, weight.row(row), static_cast<size_t>(weight.cols) * sizeof(float));
    return;
  }
  const std::byte* in = weight.row(row);
  for (int64_t i = 0; i < weight.cols; ++i) std::memcpy(out + i, in + i * weight.col_bytes, sizeof(float));
}

void DequantizeRowF16(const Weight& weight, int64_t row, float* __restrict out) {
  const uint16_t* in = reinterpret_cast<const uint16_t*>(weight.row(row));
  const int64_t step = weight.dense() ? 1 : weight.col_bytes / 2;
  for (int64_t i = 0; i < weight.cols; ++i) out[i] = HalfToFloat(in[i * step]);
}

void DequantizeRowBF16(const Weight& weight, int64_t row, float* __restrict out) {
  const uint16_t* in = reinterpret_cast<const uint16_t*>(weight.row(row));
  const int64_t step = weight.dense() ? 1 : weight.col_bytes / 2;
  for (int64_t i = 0; i < weight.cols; ++i) out[i] = BF16ToFloat(in[i * step]);
}

}  // namespace gannet
