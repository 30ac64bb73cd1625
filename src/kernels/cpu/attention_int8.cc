// Attention over int8 blocks of every instruction set.
#include "kernels/cpu/attention_int8.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <type_traits>

#include "kernels/cpu/amx_tiles-inl.h"
#include "kernels/cpu/target_setup.h"
#include "kernels/cpu/targets.h"

// clang-format off
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/attention_int8.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
#include "kernels/cpu/lanes-inl.h"
#include "kernels/cpu/quantize-inl.h"
#include "kernels/cpu/softmax_state-inl.h"
// clang-format on

#if GANNET_IS_FAST
HWY_BEFORE_NAMESPACE();
namespace gannet::HWY_NAMESPACE {
namespace {

struct QueryScale {
  float scale;
  int32_t sum;  // of the factors
};
HWY_INLINE I32x16 LoadSums(const int32_t* from, int32_t more) {
  I32x16 out;
  GANNET_EACH_PART { out.part[i] = hn::Add(hn::LoadU(IntTag(), from + i * kLanes), hn::Set(IntTag(), more)); }
  return out;
}

const hn::Full128<uint8_t> kBytes;
const hn::Full128<uint16_t> kShorts;
const hn::Full128<uint32_t> kWords;
const hn::Full128<uint64_t> kLongs;

// Four tokens by sixteen dims; quads of dims go 64 bytes apart.
HWY_INLINE void TurnQuads(const int8_t* rows, int64_t stride, hn::Vec<decltype(kWords)> flip, std::byte* tile) {
  hn::Vec<decltype(kWords)> row[4];
#pragma GCC unroll 4
  for (int t = 0; t < 4; ++t) {
    row[t] = hn::Xor(hn::LoadU(kWords, reinterpret_cast<const uint32_t*>(rows + t * stride)), flip);
  }
  const auto low01 = hn::BitCast(kLongs, hn::InterleaveLower(kWords, row[0], row[1]));
  const auto low23 = hn::BitCast(kLongs, hn::InterleaveLower(kWords, row[2], row[3]));
  const auto high01 = hn::BitCast(kLongs, hn::InterleaveUpper(kWords, row[0], row[1]));
  const auto high23 = hn::BitCast(kLongs, hn::InterleaveUpper(kWords, row[2], row[3]));
  uint64_t* to = reinterpret_cast<uint64_t*>(tile);
  hn::StoreU(hn::InterleaveLower(kLongs, low01, low23), kLongs, to);
  hn::StoreU(hn::InterleaveUpper(kLongs, low01, low23), kLongs, to + 8);
  hn::StoreU(hn::InterleaveLower(kLongs, high01, high23), kLongs, to + 16);
  hn::StoreU(hn::InterleaveUpper(kLongs, high01, high23), kLongs, to + 24);
}

// `offset` 128 flips the sign bits: value + 128. These loads are the first of the block's rows, which lie one behind
// the other; so many streams of 16 bytes are more than the machine foresees.
HWY_NOINLINE void MakeKeyTile(const int8_t* rows, int64_t stride, int64_t dims, int offset, std::byte* tile) {
  const auto flip = hn::BitCast(kWords, hn::Set(kBytes, static_cast<uint8_t>(offset)));
  for (int64_t group = 0; group < kBlockTokens; group += 16) {
    for (int64_t d = 0; d < dims; d += 16, tile += 16 * 16) {
      if (d % 64 == 0) {
        for (int64_t t = 16; t < 32; ++t) __builtin_prefetch(rows + (group + t) * stride + d);
      }
#pragma GCC unroll 4
      for (int64_t t = 0; t < 16; t += 4) TurnQuads(rows + (group + t) * stride + d, stride, flip, tile + 4 * t);
    }
  }
}

HWY_NOINLINE void MakeValueTile(const int8_t* rows, int64_t stride, int64_t dims, std::byte* tile) {
  for (int64_t t = 0; t < kBlockTokens; t += 4) {
    const uint8_t* from = reinterpret_cast<const uint8_t*>(rows + t * stride);
    for (int64_t d = 0; d < dims; d += 16) {
      const auto a = hn::LoadU(kBytes, from + d);
      const auto b = hn::LoadU(kBytes, from + stride + d);
      const auto c = hn::LoadU(kBytes, from + 2 * stride + d);
      const auto e = hn::LoadU(kBytes, from + 3 * stride + d);
      const auto ab_low = hn::BitCast(kShorts, hn::InterleaveLower(kBytes, a, b));
      const auto ab_high = hn::BitCast(kShorts, hn::InterleaveUpper(kBytes, a, b));
      const auto ce_low = hn::BitCast(kShorts, hn::InterleaveLower(kBytes, c, e));
      const auto ce_high = hn::BitCast(kShorts, hn::InterleaveUpper(kBytes, c, e));
      uint16_t* to = reinterpret_cast<uint16_t*>(tile + kBlockTokens * d + 16 * t);
      hn::StoreU(hn::InterleaveLower(kShorts, ab_low, ce_low), kShorts, to);
      hn::StoreU(hn::InterleaveUpper(kShorts, ab_low, ce_low), kShorts, to + 8);
      hn::StoreU(hn::InterleaveLower(kShorts, ab_high, ce_high), kShorts, to + 16);
      hn::StoreU(hn::InterleaveUpper(kShorts, ab_high, ce_high), kShorts, to + 24);
    }
  }
}

// Weights of tokens [first, last), multiples of 16, times their values' scales, as integers in [0, 255] of the returned
// unit. What weighs nothing is not looked at.
template <typename Integer>
HWY_INLINE float QuantizeWeights(float* weights, const float* scales, int64_t first, int64_t last, Integer* factors) {
  const hn::Rebind<Integer, IntTag> narrow;
  IntVec bits = hn::Zero(IntTag());
  for (int64_t j = first; j < last; j += 16) {
    const F32x16 weight = Load(weights + j);
    F32x16 scaled = Mul(weight, Load(scales + j));
    GANNET_EACH_PART scaled.part[i] = hn::IfThenZeroElse(hn::Eq(weight.part[i], hn::Zero(FloatTag())), scaled.part[i]);
    bits = LargerMagnitudes(scaled, bits);
    Store(scaled, weights + j);
  }
  const IntegerScale unit(bits, 255);
  for (int64_t j = first; j < last; j += 16) {
    const F32x16 scaled = Mul(Load(weights + j), Broadcast(unit.inverse));
    GANNET_EACH_PART {
      const IntVec quants = unit.counts ? hn::NearestInt(scaled.part[i]) : hn::Zero(IntTag());
      hn::StoreU(hn::DemoteTo(narrow, quants), narrow, factors + j + kLanes * i);
    }
  }
  return unit.scale;
}

}  // namespace

namespace common {  // a name of its own: argument-dependent look-up must not find these from namespace vnni
namespace {

#define GANNET_INT8_VNNI 0
#include "kernels/cpu/attention_int8-inl.h"
#undef GANNET_INT8_VNNI

}  // namespace
}  // namespace common

extern const Int8AttentionLeaves kInt8AttentionLeaves = {common::SetQuery, common::MakeTiles, common::Step};

}  // namespace gannet::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#define GANNET_WITH_AMX
#define GANNET_VNNI_FILE "kernels/cpu/attention_int8-inl.h"
#define GANNET_VNNI_EXPORT(suffix, name) \
  extern const Int8AttentionLeaves kInt8AttentionLeaves##suffix = {name::SetQuery, name::MakeTiles, name::Step};
#include "kernels/cpu/vnni_targets-inl.h"

#endif  // GANNET_IS_FAST
