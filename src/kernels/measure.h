// Speeds of single kernels, for benchmarks.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "kernels/kernels.h"

namespace gannet {

// The median of runs of at least 0.3 s together, in seconds.
double MedianSeconds(const std::function<void()>& run);

struct KernelSpeed {
  double seconds = 0;      // of one call, the median
  int64_t bytes = 0;       // that it reads and writes: weights or cache, activations in and out
  int64_t operations = 0;  // multiplications and additions
  double gb_s() const { return static_cast<double>(bytes) / 1e9 / seconds; }
  double gops() const { return static_cast<double>(operations) / 1e9 / seconds; }
  double intensity() const { return static_cast<double>(operations) / static_cast<double>(bytes); }
};

// One product of `rows` rows of random values with each of `weights`, which have one size, in turn: so many that their
// bytes come from memory unless the model has no more.
KernelSpeed MeasureProducts(const Kernels& kernels, ThreadPool& pool, std::span<const PackedMatrix* const> weights,
                            int64_t rows);

// The last `rows` rows of one sequence of `context` tokens, with a cache of zeros.
KernelSpeed MeasureAttention(const Kernels& kernels, ThreadPool& pool, const KvLayout& layout, int64_t query_heads,
                             int64_t rows, int64_t context);

}  // namespace gannet
