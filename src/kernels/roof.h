// What the machine can do at best: the roofs that measured speeds stand beside.
#pragma once

#include <cstddef>
#include <span>

#include "kernels/kernels.h"

namespace gannet {

struct MachineRoof {
  double read_gb_s = 0;    // 10^9 bytes read from memory per second, all threads of the pool
  double int8_gops = 0;    // 10^9 int8 multiplications and additions per second, by the table's dot product
  double bf16_gflops = 0;  // the same of bf16, added in fp32; zero where the table has no products of bf16
  double fp32_gflops = 0;  // 10^9 fp32 multiplications and additions per second, fused
  double peak_of(Operands operands) const {
    return operands == Operands::kInt8 ? int8_gops : operands == Operands::kBf16 ? bf16_gflops : fp32_gflops;
  }
};

// Measures for a few tenths of a second with the instruction set of `kernels` (the machine's best one for
// "reference"); zeros when the machine has no fast table. Needs 256 MiB of memory, or twice the last-level
// cache up to 1 GiB.
MachineRoof MeasureRoof(ThreadPool& pool, const Kernels& kernels);

// Seconds in which all threads of the pool read `parts` once, in order, and do nothing else; zero without a fast table.
double SecondsToRead(ThreadPool& pool, const Kernels& kernels, std::span<const std::span<const std::byte>> parts);

}  // namespace gannet
