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
void DequantizeRowMxfp4(const Weight& weight, int64_t row, float* out);
// Scaled: value times scale times factor, where the factor is not 1 their product first.
void DequantizeRowE2M1(const Weight& weight, int64_t row, float* out);
void DequantizeRowE4M3(const Weight& weight, int64_t row, float* out);
void DequantizeRowI8(const Weight& weight, int64_t row, float* out);
void DequantizeRowU8(const Weight& weight, int64_t row, float* out);
void DequantizeRowU4(const Weight& weight, int64_t row, float* out);
void DequantizeRowAwq(const Weight& weight, int64_t row, float* out);
void DequantizeRowGptq4(const Weight& weight, int64_t row, float* out);
void DequantizeRowGptq8(const Weight& weight, int64_t row, float* out);

}  // namespace gannet
