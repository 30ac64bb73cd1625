// Plain loops in fp64: the definition of every op, and the oracle of the tests.
#pragma once

#include "kernels/kernels.h"

namespace gannet {

const Kernels& ReferenceKernels();

namespace reference {
std::unique_ptr<PackedMatrix> Pack(const Weight& weight, ThreadPool& pool);
void Matmul(std::span<const MatmulArgs> jobs, ThreadPool& pool);
void StoreKv(const KvStoreArgs& args, ThreadPool& pool);
void Attention(const AttentionArgs& args, ThreadPool& pool);
void RmsNorm(const RmsNormArgs& args, ThreadPool& pool);
void Rope(const RopeArgs& args, ThreadPool& pool);
void GatedActivation(const GatedActivationArgs& args, ThreadPool& pool);
}  // namespace reference

}  // namespace gannet
