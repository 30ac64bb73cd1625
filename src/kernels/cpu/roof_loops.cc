// Loops at the machine's limits: streaming reads, int8 dot products from registers, fused multiply-adds.
#include <cstddef>
#include <cstdint>

#include "kernels/cpu/amx_tiles-inl.h"
#include "kernels/cpu/target_setup.h"
#include "kernels/cpu/targets.h"

// clang-format off
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/roof_loops.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
// clang-format on

#if GANNET_IS_FAST
HWY_BEFORE_NAMESPACE();
namespace gannet::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
constexpr int kChains = 10;  // more than latency times throughput of any of the instructions

uint64_t Read(const std::byte* data, int64_t bytes) {
  const hn::ScalableTag<uint64_t> tag;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(tag));
  const uint64_t* words = reinterpret_cast<const uint64_t*>(data);
  auto a = hn::Zero(tag);
  auto b = a;
  auto c = a;
  auto d = a;
  for (int64_t i = 0; i < bytes / 8; i += 4 * lanes) {
    a = hn::Xor(a, hn::LoadU(tag, words + i));
    b = hn::Xor(b, hn::LoadU(tag, words + i + lanes));
    c = hn::Xor(c, hn::LoadU(tag, words + i + 2 * lanes));
    d = hn::Xor(d, hn::LoadU(tag, words + i + 3 * lanes));
  }
  return hn::GetLane(hn::Xor(hn::Xor(a, b), hn::Xor(c, d)));
}

float Fmas(int64_t rounds) {
  const hn::ScalableTag<float> tag;
  hn::Vec<decltype(tag)> sums[kChains];
  for (auto& sum : sums) sum = hn::Set(tag, 1.0f);
  auto factor = hn::Set(tag, 0.5f);
  for (int64_t i = 0; i < rounds; ++i) {
#if HWY_ARCH_X86
    asm volatile("" : "+v"(factor.raw));
#endif
#pragma GCC unroll 10
    for (int c = 0; c < kChains; ++c) sums[c] = hn::MulAdd(sums[c], factor, factor);
  }
  for (int c = 1; c < kChains; ++c) sums[0] = hn::Add(sums[0], sums[c]);
  return hn::GetLane(sums[0]);
}
constexpr int64_t kFmaOperations = kChains * 2 * static_cast<int64_t>(HWY_LANES(float));

// s16 pairs, the widest multiply-add of bytes without VNNI takes two more instructions; without x86, by Highway.
#if HWY_TARGET == HWY_AVX2
uint64_t Dots(int64_t rounds) {
  __m256i sums[kChains];
  for (auto& sum : sums) sum = _mm256_setzero_si256();
  __m256i x = _mm256_set1_epi8(1);
  const __m256i ones = _mm256_set1_epi16(1);
  for (int64_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 10
    for (int c = 0; c < kChains; ++c) {
      asm volatile("" : "+v"(x));
      sums[c] = _mm256_add_epi32(sums[c], _mm256_madd_epi16(_mm256_maddubs_epi16(x, x), ones));
    }
  }
  for (int c = 1; c < kChains; ++c) sums[0] = _mm256_add_epi32(sums[0], sums[c]);
  return static_cast<uint64_t>(_mm256_extract_epi32(sums[0], 0));
}
constexpr int64_t kDotOperations = kChains * 64;
#elif HWY_TARGET == HWY_AVX3
uint64_t Dots(int64_t rounds) {
  __m512i sums[kChains];
  for (auto& sum : sums) sum = _mm512_setzero_si512();
  __m512i x = _mm512_set1_epi8(1);
  const __m512i ones = _mm512_set1_epi16(1);
  for (int64_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 10
    for (int c = 0; c < kChains; ++c) {
      asm volatile("" : "+v"(x));
      sums[c] = _mm512_add_epi32(sums[c], _mm512_madd_epi16(_mm512_maddubs_epi16(x, x), ones));
    }
  }
  for (int c = 1; c < kChains; ++c) sums[0] = _mm512_add_epi32(sums[0], sums[c]);
  return static_cast<uint64_t>(_mm_cvtsi128_si32(_mm512_castsi512_si128(sums[0])));
}
constexpr int64_t kDotOperations = kChains * 128;
#else
uint64_t Dots(int64_t rounds) {
  const hn::ScalableTag<int32_t> wide;
  const hn::Repartition<int16_t, decltype(wide)> narrow;
  hn::Vec<decltype(wide)> sums[kChains];
  hn::Vec<decltype(wide)> high[kChains];
  for (int c = 0; c < kChains; ++c) sums[c] = high[c] = hn::Zero(wide);
  auto x = hn::Set(narrow, 1);
  for (int64_t i = 0; i < rounds; ++i) {
    for (int c = 0; c < kChains; ++c) sums[c] = hn::ReorderWidenMulAccumulate(wide, x, x, sums[c], high[c]);
    x = hn::Add(x, hn::Set(narrow, 1));
  }
  for (int c = 0; c < kChains; ++c) sums[0] = hn::Add(sums[0], hn::Add(sums[c], high[c]));
  return static_cast<uint64_t>(hn::GetLane(sums[0]));
}
constexpr int64_t kDotOperations = kChains * 2 * static_cast<int64_t>(HWY_LANES(int16_t));
#endif

}  // namespace

extern const RoofLoops kRoofLoops = {Read, Dots, kDotOperations, Fmas, kFmaOperations};

}  // namespace gannet::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#define GANNET_WITH_AMX
#define GANNET_VNNI_FILE "kernels/cpu/roof_vnni-inl.h"
#define GANNET_VNNI_EXPORT(suffix, name)                                                                   \
  extern const RoofLoops kRoofLoops##suffix = {Read,           name::Dots,     name::kDotOperations, Fmas, \
                                               kFmaOperations, name::Bf16Dots, name::kBf16Operations};
#include "kernels/cpu/vnni_targets-inl.h"

#endif  // GANNET_IS_FAST
