// What each instruction set's translation units define; tables.cc puts them together.
#pragma once

#include "kernels/cpu/attention_int8.h"
#include "kernels/cpu/attention_plan.h"
#include "kernels/cpu/choose_plan.h"
#include "kernels/cpu/matmul_leaves.h"
#include "kernels/kernels.h"
#include "kernels/roof.h"

namespace gannet {

// Loops that move or compute nothing useful: the roofs of the machine.
struct RoofLoops {
  uint64_t (*read)(const std::byte* data, int64_t bytes);  // a checksum; `bytes` a multiple of 1024
  uint64_t (*int8_dots)(int64_t rounds);                   // does rounds * int8_operations_per_round operations
  int64_t int8_operations_per_round;                       // a multiplication and an addition are two
  float (*fmas)(int64_t rounds);
  int64_t fma_operations_per_round;
  uint64_t (*bf16_dots)(int64_t rounds) = nullptr;  // in tile registers, of table amx alone
  int64_t bf16_operations_per_round = 0;
};

#define GANNET_DECLARE_TARGET(target)                                                           \
  namespace target {                                                                            \
  extern const Int8Leaves kInt8Leaves;                                                          \
  extern const FloatLeaves kFloatLeaves;                                                        \
  extern const AttentionLeaves kAttentionLeaves;                                                \
  extern const Int8AttentionLeaves kInt8AttentionLeaves;                                        \
  extern const IndexScoresOfBlock kIndexScores;                                                 \
  extern const RoofLoops kRoofLoops;                                                            \
  void StoreKv(const KvStoreArgs& args, ThreadPool& pool);                                      \
  void RmsNorm(const RmsNormArgs& args, ThreadPool& pool);                                      \
  void Rope(const RopeArgs& args, ThreadPool& pool);                                            \
  void GatedActivation(const GatedActivationArgs& args, ThreadPool& pool);                      \
  void Activate(const ActivationSpec& activation, float* gate, const float* up, int64_t count); \
  }
GANNET_DECLARE_TARGET(N_AVX2)
GANNET_DECLARE_TARGET(N_AVX3)
GANNET_DECLARE_TARGET(N_NEON)
#undef GANNET_DECLARE_TARGET

#define GANNET_DECLARE_VNNI(target, suffix)                      \
  namespace target {                                             \
  extern const Int8Leaves kInt8Leaves##suffix;                   \
  extern const AttentionLeaves kAttentionLeaves##suffix;         \
  extern const Int8AttentionLeaves kInt8AttentionLeaves##suffix; \
  extern const RoofLoops kRoofLoops##suffix;                     \
  }
GANNET_DECLARE_VNNI(N_AVX3, Vnni)
GANNET_DECLARE_VNNI(N_AVX3, Amx)
GANNET_DECLARE_VNNI(N_AVX2, Vnni)
GANNET_DECLARE_VNNI(N_AVX2, Evex)
GANNET_DECLARE_VNNI(N_NEON, Sdot)
#undef GANNET_DECLARE_VNNI

}  // namespace gannet
