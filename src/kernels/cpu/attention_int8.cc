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
  int32_t more;  // to each sum of products
};
HWY_INLINE I32x16 LoadSums(const int32_t* from, int32_t more) {
  I32x16 out;
  GANNET_EACH_PART { out.part[i] = hn::Add(hn::LoadU(IntTag(), from + i * kLanes), hn::Set(IntTag(), more)); }
  return out;
}

// Vectors of kBlocks blocks of 16 bytes, each of which is turned by itself.
template <int kBlocks>
using BytesOf = hn::CappedTag<uint8_t, 16 * kBlocks>;
constexpr int kMostBlocks = static_cast<int>(HWY_LANES(uint8_t)) / 16;

// Sixteen bytes of each of kBlocks rows, `stride` apart.
template <int kBlocks>
HWY_INLINE auto LoadBlocks(const uint8_t* rows, [[maybe_unused]] int64_t stride) {
#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3
  const auto row = [&](int64_t r)
                       HWY_ATTR { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(rows + r * stride)); };
  if constexpr (kBlocks == 2) {
    return hn::Vec<BytesOf<2>>{_mm256_inserti128_si256(_mm256_castsi128_si256(row(0)), row(1), 1)};
  }
#if HWY_TARGET == HWY_AVX3
  if constexpr (kBlocks == 4) {
    __m512i all = _mm512_castsi128_si512(row(0));
    all = _mm512_inserti32x4(all, row(1), 1);
    all = _mm512_inserti32x4(all, row(2), 2);
    return hn::Vec<BytesOf<4>>{_mm512_inserti32x4(all, row(3), 3)};
  }
#endif
#endif
  if constexpr (kBlocks == 1) return hn::LoadU(BytesOf<1>(), rows);
}

// In each block, elements 4 e to 4 e + 3 of four rows, turned, for `store` of e = 0 to 3.
template <class Tag, class Store>
HWY_INLINE void TurnInBlocks(Tag tag, const hn::Vec<Tag> (&row)[4], const Store& store) {
  const hn::RepartitionToWide<Tag> pairs;
  const auto low01 = hn::BitCast(pairs, hn::InterleaveLower(tag, row[0], row[1]));
  const auto low23 = hn::BitCast(pairs, hn::InterleaveLower(tag, row[2], row[3]));
  const auto high01 = hn::BitCast(pairs, hn::InterleaveUpper(tag, row[0], row[1]));
  const auto high23 = hn::BitCast(pairs, hn::InterleaveUpper(tag, row[2], row[3]));
  store(0, hn::InterleaveLower(pairs, low01, low23));
  store(1, hn::InterleaveUpper(pairs, low01, low23));
  store(2, hn::InterleaveLower(pairs, high01, high23));
  store(3, hn::InterleaveUpper(pairs, high01, high23));
}
template <class Vector>
HWY_INLINE void StoreBytes(Vector v, std::byte* to) {
  const hn::Repartition<uint8_t, hn::DFromV<Vector>> bytes;
  hn::StoreU(hn::BitCast(bytes, v), bytes, reinterpret_cast<uint8_t*>(to));
}

// `offset` 128 flips the sign bits: value + 128.
HWY_NOINLINE void MakeKeyTile(const int8_t* keys, int64_t stride, int64_t dims, int offset, std::byte* tile) {
  constexpr int kBlocks = kMostBlocks;
  const hn::Repartition<uint32_t, BytesOf<kBlocks>> words;
  const auto flip = hn::Set(BytesOf<kBlocks>(), static_cast<uint8_t>(offset));
  const uint8_t* const rows = reinterpret_cast<const uint8_t*>(keys);
  for (int64_t group = 0; group < kBlockTokens; group += 16) {
    for (int64_t d = 0; d < dims; d += 16, tile += 16 * 16) {
#pragma GCC unroll 4
      for (int64_t set = 0; set < 16; set += 4 * kBlocks) {
        hn::Vec<decltype(words)> row[4];
#pragma GCC unroll 4
        for (int64_t t = 0; t < 4; ++t) {
          const auto loaded = LoadBlocks<kBlocks>(rows + (group + set + t) * stride + d, 4 * stride);
          row[t] = hn::BitCast(words, hn::Xor(loaded, flip));
        }
        TurnInBlocks(words, row, [&](int e, auto quads) HWY_ATTR { StoreBytes(quads, tile + 4 * set + 64 * e); });
      }
    }
  }
}

// Four tokens by 16 kBlocks dims; groups of dims go kInt8StepBlocks blocks apart.
template <int kBlocks>
HWY_INLINE void TurnTokens(const uint8_t* rows, int64_t stride, std::byte* tile) {
  const BytesOf<kBlocks> bytes;
  const hn::Repartition<uint32_t, BytesOf<kBlocks>> words;
  // Word e of block b comes into block b of store e, which holds dims [4 kBlocks e, 4 kBlocks (e + 1)).
  alignas(64) int32_t word_of[4 * kBlocks];
  for (int i = 0; i < 4 * kBlocks; ++i) word_of[i] = kBlocks * (i % 4) + i / 4;
  hn::Vec<BytesOf<kBlocks>> row[4];
#pragma GCC unroll 4
  for (int64_t t = 0; t < 4; ++t) {
    row[t] = hn::LoadU(bytes, rows + t * stride);
    if constexpr (kBlocks > 1) {
      row[t] =
          hn::BitCast(bytes, hn::TableLookupLanes(hn::BitCast(words, row[t]), hn::SetTableIndices(words, word_of)));
    }
  }
  TurnInBlocks(bytes, row, [&](int e, auto tokens) HWY_ATTR {
    const int64_t dim = 4 * kBlocks * e;
    StoreBytes(tokens, tile + kInt8StepTokens * (dim / 16 * 16) + 4 * (dim % 16));
  });
}

constexpr int64_t kDimsAtOnce = 64;  // of values

// Dims of the values of a step's tokens [first, last), multiples of four, to be turned four tokens at a time.
class ValuesToTurn {
 public:
  // `values` are those of each block.
  ValuesToTurn(const Int8Blocks& values, int64_t stride, int64_t first, int64_t last)
      : values_(values), stride_(stride), first_(first), last_(last), next_(last) {}
  // From now on those from `dim`, of which there are so many; less than kDimsAtOnce are turned here.
  HWY_INLINE void Begin(int64_t dim, int64_t dims, std::byte* tile) {
    dim_ = dim;
    tile_ = tile;
    next_ = first_;
    Find();
    for (; dims < kDimsAtOnce && next_ < last_; Step()) {
      for (int64_t d = 0; d < dims; d += 16) Turn<1>(d);
    }
  }
  HWY_INLINE void Four() {
    if (next_ >= last_) return;
#pragma GCC unroll 4
    for (int64_t d = 0; d < kDimsAtOnce; d += 16 * kMostBlocks) Turn<kMostBlocks>(d);
    Step();
  }
  void Rest() {
    while (next_ < last_) Four();
  }

 private:
  template <int kBlocks>
  HWY_INLINE void Turn(int64_t d) {
    TurnTokens<kBlocks>(rows_ + d, stride_, tile_ + 16 * next_ + kInt8StepTokens * d);
  }
  HWY_INLINE void Step() {
    next_ += 4;
    rows_ += 4 * stride_;
    if (next_ % kBlockTokens == 0) Find();
  }
  void Find() {
    if (next_ >= last_) return;
    rows_ = reinterpret_cast<const uint8_t*>(values_[static_cast<size_t>(next_ / kBlockTokens)]) +
            next_ % kBlockTokens * stride_ + dim_;
  }

  const Int8Blocks& values_;
  int64_t stride_;
  int64_t first_;
  int64_t last_;
  int64_t next_;  // token
  int64_t dim_ = 0;
  std::byte* tile_ = nullptr;
  const uint8_t* rows_ = nullptr;  // of the next token
};

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

// Rounds of at most kMost of `all`, as even as they go: round(how many came before, how many).
template <int64_t kMost, class Round>
HWY_INLINE void InRounds(int64_t all, const Round& round) {
  int64_t done = 0;
  for (int64_t rounds = (all + kMost - 1) / kMost; rounds > 0; --rounds) {
    const int64_t count = (all - done + rounds - 1) / rounds;
    round(done, count);
    done += count;
  }
}

#include "kernels/cpu/softmax_int8-inl.h"

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
