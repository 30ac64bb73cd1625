// Attention over int8 blocks of every instruction set.
#include "kernels/cpu/attention_int8.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <type_traits>
#include <utility>

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

// Of kInt8StepBlocks blocks: groups of dims go that far apart.
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
      uint16_t* to = reinterpret_cast<uint16_t*>(tile + kInt8StepTokens * d + 16 * t);
      hn::StoreU(hn::InterleaveLower(kShorts, ab_low, ce_low), kShorts, to);
      hn::StoreU(hn::InterleaveUpper(kShorts, ab_low, ce_low), kShorts, to + 8);
      hn::StoreU(hn::InterleaveLower(kShorts, ab_high, ce_high), kShorts, to + 16);
      hn::StoreU(hn::InterleaveUpper(kShorts, ab_high, ce_high), kShorts, to + 24);
    }
  }
}

// What will be read soon, so many bytes of each block, fetched a few cache lines at a time: a core waits for so many
// misses at once, and then for each.
class Ahead {
 public:
  Ahead(const Int8Blocks& blocks, int64_t bytes) : blocks_(blocks), lines_(bytes / 64) {}
  // So many lines at each of `times` places that they fetch so many eighths of what there is at first.
  int64_t Share(int64_t eighths, int64_t times) const {
    const int64_t all = lines_ * (kInt8StepBlocks - std::count(blocks_.begin(), blocks_.end(), nullptr));
    return (all * eighths + 8 * times - 1) / (8 * times);
  }
  HWY_INLINE void Fetch(int64_t lines) {
    if (left_ == 0) Open();
    for (lines = std::min(lines, left_), left_ -= lines; lines > 0; --lines, at_ += 64) __builtin_prefetch(at_, 0, 2);
  }
  // Where `lines` begin that the caller fetches, who may go on past the last of them; `nothing` where none are left.
  const std::byte* Take(int64_t lines, const std::byte* nothing) {
    if (left_ == 0) Open();
    if (left_ == 0) return nothing;
    lines = std::min(lines, left_);
    left_ -= lines;
    return std::exchange(at_, at_ + 64 * lines);
  }

 private:
  void Open() {
    for (; next_ < blocks_.size() && left_ == 0; ++next_) {
      if (!blocks_[next_]) continue;
      at_ = blocks_[next_];
      left_ = lines_;
    }
  }

  const Int8Blocks& blocks_;
  int64_t lines_;  // of each
  size_t next_ = 0;
  const std::byte* at_ = nullptr;
  int64_t left_ = 0;
};

// What makes a line's sums over a part of the key scores.
struct ScoresOfPart {
  const int32_t* sums;  // kInt8StepTokens of them
  int32_t more;         // to each
  float scale;          // of the query; times each key's
  const float* key_scales;
};
struct LineOfStep {
  ScoresOfPart parts[2];
  float* state;
  float kept;  // what the state's values are to be multiplied with
  float unit;  // of the factors
};

// The step of softmax (Soften) of at most kMost lines over blocks, of whose tokens they see `seen`: their weights,
// times their values' scales, become factors in [0, 255] of the line's unit, those of the others zero. What weighs
// nothing is not looked at. Stage by stage for all lines, each of which is one long chain of dependent operations.
// kWhole: every token is seen.
template <bool kWhole, int64_t kMost, typename Integer>
HWY_NOINLINE void SoftenLines(std::span<LineOfStep> of_lines, size_t part_count, KeySpan seen,
                              const float* value_scales, Ahead& ahead, int64_t lines_ahead, Integer* factors) {
  constexpr int64_t kGroups = kInt8StepTokens / 16;
  constexpr int64_t kPadded = RoundUp16(kMost);
  const int64_t lines = std::ssize(of_lines);
  const auto is_seen = [&](int64_t g) { return kWhole || (16 * g < seen.end && 16 * g + 16 > seen.begin); };
  alignas(64) float scores[kMost * kInt8StepTokens];
  alignas(64) float largest[kPadded] = {};
  alignas(64) float old_largest[kPadded] = {};
  alignas(64) float old_sums[kPadded] = {};
  alignas(64) float kept[kPadded];
  for (int64_t r = 0; r < lines; ++r) {
    ahead.Fetch(lines_ahead);
    const LineOfStep& of_line = of_lines[static_cast<size_t>(r)];
    F32x16 most = Broadcast(kMinusInfinity);
#pragma GCC unroll 8
    for (int64_t g = 0; g < kGroups; ++g) {
      if (!is_seen(g)) continue;
      F32x16 score;
      for (size_t p = 0; p < part_count; ++p) {
        const ScoresOfPart& part = of_line.parts[p];
        const F32x16 unit = Mul(Load(part.key_scales + 16 * g), Broadcast(part.scale));
        const F32x16 sum = ToFloat(LoadSums(part.sums + 16 * g, part.more));
        score = p == 0 ? Mul(sum, unit) : MulAdd(sum, unit, score);
      }
      if (!kWhole) {
        GANNET_EACH_PART {
          const IntVec token = hn::Iota(IntTag(), static_cast<int32_t>(16 * g + kLanes * i));
          const auto outside =
              hn::Or(hn::Lt(token, hn::Set(IntTag(), seen.begin)), hn::Not(hn::Lt(token, hn::Set(IntTag(), seen.end))));
          score.part[i] =
              hn::IfThenElse(hn::RebindMask(FloatTag(), outside), hn::Set(FloatTag(), kMinusInfinity), score.part[i]);
        }
      }
      most = Max(most, score);
      Store(score, scores + r * kInt8StepTokens + 16 * g);
    }
    old_largest[r] = of_line.state[0];
    old_sums[r] = of_line.state[1];
    largest[r] = std::max(old_largest[r], MaxOfLanes(most));
  }
  for (int64_t r = 0; r < lines; r += 16) {
    const F32x16 factor = ExpOfNegative(Add(Load(old_largest + r), Mul(Load(largest + r), Broadcast(-1))));
    const F32x16 sum = Load(old_sums + r);
    F32x16 kept_of;
    GANNET_EACH_PART kept_of.part[i] = hn::IfThenZeroElse(hn::Eq(sum.part[i], hn::Zero(FloatTag())), factor.part[i]);
    Store(kept_of, kept + r);
  }

  alignas(64) int32_t bits_of[kPadded] = {};
  for (int64_t r = 0; r < lines; ++r) {
    ahead.Fetch(lines_ahead);
    F32x16 total = Broadcast(0);
    IntVec bits = hn::Zero(IntTag());
#pragma GCC unroll 8
    for (int64_t g = 0; g < kGroups; ++g) {
      if (!is_seen(g)) continue;
      float* const score = scores + r * kInt8StepTokens + 16 * g;
      const F32x16 weight = ExpOfNegative(Add(Load(score), Broadcast(-largest[r])));
      total = Add(total, weight);
      F32x16 scaled = Mul(weight, Load(value_scales + 16 * g));
      GANNET_EACH_PART {
        scaled.part[i] = hn::IfThenZeroElse(hn::Eq(weight.part[i], hn::Zero(FloatTag())), scaled.part[i]);
      }
      bits = LargerMagnitudes(scaled, bits);
      Store(scaled, score);
    }
    of_lines[static_cast<size_t>(r)].kept = kept[r];
    of_lines[static_cast<size_t>(r)].state[0] = largest[r];
    of_lines[static_cast<size_t>(r)].state[1] = old_sums[r] * kept[r] + SumOfLanes(total);
    bits_of[r] = hn::GetLane(hn::MaxOfLanes(IntTag(), bits));
  }

  const hn::Rebind<Integer, IntTag> narrow;
  for (int64_t r = 0; r < lines; ++r) {
    const IntegerScale unit(hn::Set(IntTag(), bits_of[r]), 255);
    of_lines[static_cast<size_t>(r)].unit = unit.scale;
#pragma GCC unroll 8
    for (int64_t g = 0; g < kGroups; ++g) {
      Integer* const to = factors + r * kInt8StepTokens + 16 * g;
      const bool counts = unit.counts && is_seen(g);
      GANNET_EACH_PART {
        const float* const scaled = scores + r * kInt8StepTokens + 16 * g;
        const IntVec quants = counts ? hn::NearestInt(hn::Mul(LoadPart(scaled, i), hn::Set(FloatTag(), unit.inverse)))
                                     : hn::Zero(IntTag());
        hn::StoreU(hn::DemoteTo(narrow, quants), narrow, to + kLanes * i);
      }
    }
  }
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
