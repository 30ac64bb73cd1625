// Plain loops in fp64: the definition of every op, and the oracle of the tests.
#pragma once

#include "kernels/kernels.h"

namespace gannet {

const Kernels& ReferenceKernels();

namespace reference {
std::unique_ptr<PackedMatrix> Pack(const Weight& weight);
std::unique_ptr<PackedMatrix> PackTransposed(const Weight& weight);
void Matmul(std::span<const MatmulArgs> jobs, ThreadPool& pool);
void StoreKv(const KvStoreArgs& args, ThreadPool& pool);
void Attention(const AttentionArgs& args, ThreadPool& pool);
void ChooseKeys(const ChooseKeysArgs& args, ThreadPool& pool);
void RmsNorm(const RmsNormArgs& args, ThreadPool& pool);
void Rope(const RopeArgs& args, ThreadPool& pool);
double Activated(const ActivationSpec& activation, double gate, double up);
void GatedActivation(const GatedActivationArgs& args, ThreadPool& pool);
// One element of a key in a block.
float ReadKey(const KvLayout& layout, const std::byte* block, int64_t head, int64_t dim, int64_t token);
}  // namespace reference

}  // namespace gannet
