// The named tables of kernels, in order of priority. A model is loaded with one of them and keeps it.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <string_view>
#include <vector>

#include "kernels/attention.h"
#include "kernels/choose_keys.h"
#include "kernels/elementwise.h"
#include "kernels/matmul.h"

namespace gannet {

struct Kernels {
  const char* name;  // "reference", "avx2", "avx512vnni", ...: the argument of --kernels
  // Makes `weight` ready for `matmul`, at once: the bytes it views must stay until the matrix owns its memory. Never
  // fails: a storage without a fast kernel is served by the plain one of the same table, and PackedMatrix::kernel()
  // says so.
  std::unique_ptr<PackedMatrix> (*pack)(const Weight& weight);
  // The same of the transpose, [cols, rows]. Null where the table has no kernel for it: the caller turns it in fp32.
  std::unique_ptr<PackedMatrix> (*pack_transposed)(const Weight& weight);
  // Independent products in one parallel region (the experts of a step, the heads of a layer). No job reads what
  // another one writes, and no two write the same element.
  void (*matmul)(std::span<const MatmulArgs> jobs, ThreadPool& pool);
  void (*store_kv)(const KvStoreArgs& args, ThreadPool& pool);
  void (*attention)(const AttentionArgs& args, ThreadPool& pool);
  void (*choose_keys)(const ChooseKeysArgs& args, ThreadPool& pool);
  void (*rms_norm)(const RmsNormArgs& args, ThreadPool& pool);
  void (*rope)(const RopeArgs& args, ThreadPool& pool);
  void (*gated_activation)(const GatedActivationArgs& args, ThreadPool& pool);
  // Prompt rows that see more keys than this are computed sooner from an int8 latent cache as it is, as generated rows
  // are, than from keys and values expanded from it.
  int64_t expanded_keys = std::numeric_limits<int64_t>::max();
};

// Every table this machine can run, best first; "reference" (plain loops, the definition of every op) is the last.
const std::vector<const Kernels*>& AvailableKernels();
// "auto" is the best one. Null when the name is unknown or this machine cannot run it.
const Kernels* FindKernels(std::string_view name);

}  // namespace gannet
