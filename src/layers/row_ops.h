// One-line spellings of the kernel calls that layers make most.
#pragma once

#include <vector>

#include "layers/decoder_layer.h"

namespace gannet {

// Products of the step's rows of x [rows, width], dense, with some targets.
inline void Multiply(const StepContext& step, const float* x, int64_t width, std::span<const MatmulTarget> targets) {
  const MatmulArgs job{x, width, step.batch.rows(), width, targets, {}};
  step.kernels.matmul({&job, 1}, step.pool);
}

// RMS norm of `groups` runs of weight.size() values in each of the step's rows.
inline void Normalize(const StepContext& step, const RmsNormSpec& spec, const std::vector<float>& weight,
                      const float* x, int64_t x_stride, float* out, int64_t out_stride, int64_t groups = 1) {
  step.kernels.rms_norm({.x = x,
                         .x_stride = x_stride,
                         .out = out,
                         .out_stride = out_stride,
                         .rows = step.batch.rows(),
                         .groups = groups,
                         .dim = static_cast<int64_t>(weight.size()),
                         .weight = weight.data(),
                         .epsilon = static_cast<float>(spec.epsilon)},
                        step.pool);
}

// Turns dims [offset, offset + spec.dims) of every head of the step's rows.
inline void Rotate(const StepContext& step, const RopeSpec& spec, const BatchRope& table, float* x, int64_t heads,
                   int64_t head_dim, int64_t offset) {
  step.kernels.rope({.x = x,
                     .x_stride = heads * head_dim,
                     .rows = step.batch.rows(),
                     .heads = heads,
                     .head_dim = head_dim,
                     .offset = offset,
                     .dims = spec.dims,
                     .pairing = spec.pairing,
                     .cos = table.cos.data(),
                     .sin = table.sin.data()},
                    step.pool);
}

}  // namespace gannet
