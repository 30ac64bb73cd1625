// Row dequantizers, one per Storage: plain loops in fp32, the definition of what the bytes mean. The block layouts
// are ggml's (ggml-common.h of llama.cpp); every operation is a single fp32 rounding, in the order ggml does them.
#pragma once

#include <cstdint>

#include "base/weight.h"

namespace gannet {

// Each writes row `row` of `weight` as weight.cols floats to `out`.
void DequantizeRowF32(const Weight& weight, int64_t row, float* out);
void DequantizeRowF16(const Weight& weight, int64_t row, float* out);
void DequantizeRowBF16(const Weight& weight, int64_t row, float* out);
void DequantizeRowQ8_0(const Weight& weight, int64_t row, float* out);
void DequantizeRowQ4_0(const Weight& weight, int64_t row, float* out);
void DequantizeRowQ4_1(const Weight& weight, int64_t row, float* out);
void DequantizeRowQ5_0(const Weight& weight, int64_t row, float* out);
void DequantizeRowQ5_1(const Weight& weight, int64_t row, float* out);
void DequantizeRowQ4_K(const Weight& weight, int64_t row, float* out);
void DequantizeRowQ5_K(const Weight& weight, int64_t row, float* out);
void DequantizeRowQ6_K(const Weight& weight, int64_t row, float* out);

}  // namespace gannet
