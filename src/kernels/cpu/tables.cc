#include "kernels/cpu/tables.h"

#include <cstring>
#include <limits>

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#elif defined(__aarch64__)
#include <sys/auxv.h>
#endif

#include "kernels/cpu/matmul_amx.h"
#include "kernels/cpu/matmul_driver.h"
#include "kernels/cpu/packed_tiles.h"
#include "kernels/cpu/target_setup.h"
#include "kernels/cpu/targets.h"

// clang-format off
#include <hwy/targets.h>
// clang-format on

namespace gannet {
namespace {

struct CpuTable {
  Kernels kernels;
  const RoofLoops* roof;
  bool (*runs_here)();
};

template <const char* kName, const Bf16Leaves* kBf16>
std::unique_ptr<PackedMatrix> Pack(const Weight& weight) {
  return PackTiles(weight, kName, kBf16 != nullptr);
}
template <const char* kName, const Bf16Leaves* kBf16>
std::unique_ptr<PackedMatrix> PackTransposed(const Weight& weight) {
  return PackTransposedTiles(weight, kName, kBf16 != nullptr);
}
template <const Int8Leaves* kInt8, const FloatLeaves* kFloat, const Bf16Leaves* kBf16, auto kActivate>
void Matmul(std::span<const MatmulArgs> jobs, ThreadPool& pool) {
  const bool amx = kBf16 != nullptr;  // whose machines have 2 MB of L2
  RunMatmul(jobs, pool, {*kInt8, *kFloat, kBf16, kActivate, amx ? kRowTileOfAmx : kRowTile, amx ? 1 << 20 : 384 << 10});
}
template <const AttentionLeaves* kLeaves>
void Attention(const AttentionArgs& args, ThreadPool& pool) {
  RunAttention(args, pool, *kLeaves);
}
template <const IndexScoresOfBlock* kScores>
void ChooseKeys(const ChooseKeysArgs& args, ThreadPool& pool) {
  RunChooseKeys(args, pool, *kScores);
}

// Where bytes are multiplied four times as fast as floats: 512 rows behind 512 keys take as long in either form.
[[maybe_unused]] constexpr int64_t kExpandedKeys = 1024;
constexpr int64_t kAllKeys = std::numeric_limits<int64_t>::max();

#define GANNET_TABLE_WITH(name, target, suffix, bf16, expanded, runs_here)                 \
  CpuTable {                                                                               \
    {name,                                                                                 \
     Pack<name, bf16>,                                                                     \
     PackTransposed<name, bf16>,                                                           \
     Matmul<&target::kInt8Leaves##suffix, &target::kFloatLeaves, bf16, &target::Activate>, \
     target::StoreKv,                                                                      \
     Attention<&target::kAttentionLeaves##suffix>,                                         \
     ChooseKeys<&target::kIndexScores>,                                                    \
     target::RmsNorm,                                                                      \
     target::Rope,                                                                         \
     target::GatedActivation,                                                              \
     expanded},                                                                            \
        &target::kRoofLoops##suffix, runs_here                                             \
  }
#define GANNET_TABLE(name, target, suffix, expanded, runs_here) \
  GANNET_TABLE_WITH(name, target, suffix, nullptr, expanded, runs_here)

#if defined(__x86_64__)
bool Supports(int64_t target) { return (hwy::SupportedTargets() & target) != 0; }

[[maybe_unused]] constexpr char kAmx[] = "amx";
[[maybe_unused]] constexpr char kAvx512Vnni[] = "avx512vnni";
[[maybe_unused]] constexpr char kAvx512[] = "avx512";
[[maybe_unused]] constexpr char kAvxVnni[] = "avxvnni";
constexpr char kAvx2[] = "avx2";

// AVX-VNNI: CPUID.(EAX=7, ECX=1):EAX bit 4 (Intel SDM, volume 2, CPUID), which not every compiler's library names.
[[maybe_unused]] bool HasAvxVnni() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) != 0 && (eax & 1u << 4) != 0;
}

// AMX-TILE, AMX-INT8, AMX-BF16 (EDX 24, 25, 22) and AVX512-BF16, and the system's leave to use eight more KB of
// registers, which counts for every thread (Linux, Documentation/arch/x86/xstate.rst).
[[maybe_unused]] bool MayUseAmx() {
  constexpr long kRequestPermission = 0x1023;
  constexpr long kTileData = 18;
  constexpr unsigned kWanted = 1u << 24 | 1u << 25 | 1u << 22;
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) == 0 || (edx & kWanted) != kWanted) return false;
  if (__get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) == 0 || (eax & 1u << 5) == 0) return false;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

const CpuTable kTables[] = {
#if !(HWY_DISABLED_TARGETS & HWY_AVX3)
    GANNET_TABLE_WITH(kAmx, N_AVX3, Amx, &kAmxBf16Leaves, kExpandedKeys,
                      [] { return Supports(HWY_AVX3) && __builtin_cpu_supports("avx512vnni") != 0 && MayUseAmx(); }),
    GANNET_TABLE(kAvx512Vnni, N_AVX3, Vnni, kExpandedKeys,
                 [] { return Supports(HWY_AVX3) && __builtin_cpu_supports("avx512vnni") != 0; }),
    GANNET_TABLE(kAvx512, N_AVX3, , kAllKeys, [] { return Supports(HWY_AVX3); }),
#endif
#if GANNET_HAS_AVX_VNNI
    GANNET_TABLE(kAvxVnni, N_AVX2, Vnni, kExpandedKeys, [] { return Supports(HWY_AVX2) && HasAvxVnni(); }),
    GANNET_TABLE(kAvxVnni, N_AVX2, Evex, kExpandedKeys,
                 [] { return Supports(HWY_AVX3) && __builtin_cpu_supports("avx512vnni") != 0; }),
#endif
    GANNET_TABLE(kAvx2, N_AVX2, , kAllKeys, [] { return Supports(HWY_AVX2); }),
};
#elif defined(__aarch64__)
constexpr char kNeonDot[] = "neondot";
constexpr char kNeon[] = "neon";
const CpuTable kTables[] = {
    GANNET_TABLE(kNeonDot, N_NEON, Sdot, kAllKeys, [] { return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0; }),
    GANNET_TABLE(kNeon, N_NEON, , kAllKeys, [] { return true; }),
};
#else
#error "gannet runs on x86-64 and aarch64"
#endif

}  // namespace

std::vector<const Kernels*> CpuTables() {
  std::vector<const Kernels*> found;
  for (const CpuTable& table : kTables) {
    const bool again = !found.empty() && std::strcmp(found.back()->name, table.kernels.name) == 0;
    if (table.runs_here() && !again) found.push_back(&table.kernels);
  }
  return found;
}

const RoofLoops* RoofLoopsOf(const char* kernels_name) {
  const RoofLoops* best = nullptr;
  for (const CpuTable& table : kTables) {
    if (!table.runs_here()) continue;
    if (std::strcmp(table.kernels.name, kernels_name) == 0) return table.roof;
    if (!best) best = table.roof;
  }
  return best;
}

}  // namespace gannet
