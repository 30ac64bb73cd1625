// Rows of keys and values into cache blocks.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/dtype.h"
#include "kernels/cpu/target_setup.h"
#include "kernels/cpu/targets.h"
#include "kernels/kv_block.h"

// clang-format off
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/store_kv.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
#include "kernels/cpu/lanes-inl.h"
#include "kernels/cpu/quantize-inl.h"
// clang-format on

#if GANNET_IS_FAST
HWY_BEFORE_NAMESPACE();
namespace gannet::HWY_NAMESPACE {
namespace {

HWY_INLINE void Narrow(const float* from, float* to) { std::memcpy(to, from, 16 * sizeof(float)); }
HWY_INLINE void Narrow(const float* from, hwy::bfloat16_t* to) {
  uint16_t bits[16];
  for (int i = 0; i < 16; ++i) bits[i] = FloatToBF16(from[i]);
  std::memcpy(to, bits, sizeof(bits));
}
HWY_INLINE void Narrow(const float* from, KvE4M3* to) {
  for (int i = 0; i < 16; ++i) to[i].bits = FloatToE4M3(from[i]);
}
HWY_INLINE void Narrow(const float* from, hwy::float16_t* to) {
  const hn::Rebind<hwy::float16_t, FloatTag> half;
  const F32x16 v = Load(from);
  GANNET_EACH_PART hn::StoreU(hn::DemoteTo(half, v.part[i]), half, to + i * kLanes);
}

template <typename T>
HWY_INLINE void StoreRow(const float* from, int64_t count, T* to) {
  const int64_t whole = count / 16 * 16;
  for (int64_t i = 0; i < whole; i += 16) Narrow(from + i, to + i);
  if (whole == count) return;
  float padded[16] = {};
  T narrow[16];
  std::memcpy(padded, from + whole, static_cast<size_t>(count - whole) * sizeof(float));
  Narrow(padded, narrow);
  std::memcpy(static_cast<void*>(to + whole), narrow, static_cast<size_t>(count - whole) * sizeof(T));
}

// Dims [first, count) of a key, kBlockTokens apart in the cache.
template <typename T>
HWY_INLINE void StoreKey(const float* from, int64_t first, int64_t count, T* to) {
  T narrow[16];
  for (int64_t i = first; i < count; i += 16) {
    const int64_t some = std::min<int64_t>(16, count - i);
    StoreRow(from + i, some, narrow);
    for (int64_t j = 0; j < some; ++j) to[(i + j) * kBlockTokens] = narrow[j];
  }
}

// The same of 16 tokens whose keys are `stride` floats apart: whole cache lines of fp32.
template <typename T>
HWY_INLINE void StoreSixteenKeys(const float* from, int64_t stride, int64_t count, T* to) {
  const hn::FixedTag<float, 4> four;
  const int64_t whole = count / 4 * 4;
  for (int64_t d = 0; d < whole; d += 4) {
    alignas(64) float turned[4][16];
    for (int t = 0; t < 16; t += 4) {
      const float* at = from + t * stride + d;
      const auto a = hn::LoadU(four, at);
      const auto b = hn::LoadU(four, at + stride);
      const auto c = hn::LoadU(four, at + 2 * stride);
      const auto e = hn::LoadU(four, at + 3 * stride);
      const auto low_ab = hn::InterleaveLower(four, a, b);
      const auto low_ce = hn::InterleaveLower(four, c, e);
      const auto high_ab = hn::InterleaveUpper(four, a, b);
      const auto high_ce = hn::InterleaveUpper(four, c, e);
      hn::StoreU(hn::ConcatLowerLower(four, low_ce, low_ab), four, turned[0] + t);
      hn::StoreU(hn::ConcatUpperUpper(four, low_ce, low_ab), four, turned[1] + t);
      hn::StoreU(hn::ConcatLowerLower(four, high_ce, high_ab), four, turned[2] + t);
      hn::StoreU(hn::ConcatUpperUpper(four, high_ce, high_ab), four, turned[3] + t);
    }
    for (int i = 0; i < 4; ++i) Narrow(turned[i], to + (d + i) * kBlockTokens);
  }
  for (int t = 0; t < 16; ++t) StoreKey(from + t * stride, whole, count, to + t);
}

// Rows [row, row + rows), of one token each; more than one are sixteen, in slots that follow one another in a block.
template <typename T>
void StoreSlots(const KvStoreArgs& args, int64_t row, int64_t rows) {
  const KvLayout& layout = args.pages.layout;
  const int64_t slot = args.slots[static_cast<size_t>(row)];
  std::byte* block = args.pages.block(slot / kBlockTokens);
  const int64_t token = slot % kBlockTokens;
  const float* keys = args.keys + row * args.key_stride;
  if (layout.latent) {
    T* to = reinterpret_cast<T*>(block) + token * PaddedKeyDim(layout);
    for (int64_t t = 0; t < rows; ++t, keys += args.key_stride, to += PaddedKeyDim(layout)) {
      StoreRow(keys, layout.key_dim, to);
      std::memset(static_cast<void*>(to + layout.key_dim), 0,
                  static_cast<size_t>(PaddedKeyDim(layout) - layout.key_dim) * sizeof(T));
    }
    return;
  }
  for (int64_t head = 0; head < layout.kv_heads; ++head, keys += layout.key_dim) {
    T* key = reinterpret_cast<T*>(block + KeyOffset(layout, head)) + token;
    if (rows == 1) {
      StoreKey(keys, 0, layout.key_dim, key);
    } else {
      StoreSixteenKeys(keys, args.key_stride, layout.key_dim, key);
    }
    const float* values = args.values + row * args.value_stride + head * layout.value_dim;
    T* value = reinterpret_cast<T*>(block + ValueOffset(layout, head)) + token * PaddedValueDim(layout);
    for (int64_t t = 0; t < rows; ++t) {
      StoreRow(values + t * args.value_stride, layout.value_dim, value + t * PaddedValueDim(layout));
    }
  }
}

// How many rows from `row`, of those before `end`, StoreSlots takes at once.
int64_t RowsTogether(const KvStoreArgs& args, int64_t row, int64_t end) {
  const int64_t slot = args.slots[static_cast<size_t>(row)];
  if (end - row < 16 || slot % 16 != 0) return 1;
  for (int64_t t = 1; t < 16; ++t) {
    if (args.slots[static_cast<size_t>(row + t)] != slot + t) return 1;
  }
  return 16;
}

void StoreInt8Slot(const KvStoreArgs& args, int64_t row) {
  const KvLayout& layout = args.pages.layout;
  const int64_t slot = args.slots[static_cast<size_t>(row)];
  std::byte* block = args.pages.block(slot / kBlockTokens);
  const int64_t token = slot % kBlockTokens;
  for (int64_t head = 0; head < layout.kv_heads; ++head) {
    const float* keys = args.keys + row * args.key_stride + head * layout.key_dim;
    int8_t* to = reinterpret_cast<int8_t*>(block + KeyOffset(layout, head)) + token * PaddedKeyDim(layout);
    float* scales = reinterpret_cast<float*>(block + ScaleOffset(layout, head)) + token;
    for (const KeyPart& part : KeyParts(layout)) {
      if (part.dims == 0) continue;
      scales[part.scale * kBlockTokens] = QuantizeInt8(keys + part.first, part.dims, to + part.place);
    }
    if (layout.latent) continue;
    const float* values = args.values + row * args.value_stride + head * layout.value_dim;
    to = reinterpret_cast<int8_t*>(block + ValueOffset(layout, head)) + token * PaddedValueDim(layout);
    scales[kBlockTokens] = QuantizeInt8(values, layout.value_dim, to);
  }
}

}  // namespace

void StoreKv(const KvStoreArgs& args, ThreadPool& pool) {
  const KvType type = args.pages.layout.type;
  const int64_t rows = static_cast<int64_t>(args.slots.size());
  // Whole cache lines of tokens to a task, so that threads seldom share one.
  constexpr int64_t kRowsPerTask = 32;
  pool.ParallelFor((rows + kRowsPerTask - 1) / kRowsPerTask, [&](int64_t task, int) HWY_ATTR {
    const int64_t end = std::min(rows, (task + 1) * kRowsPerTask);
    for (int64_t row = task * kRowsPerTask, count = 1; row < end; row += count) {
      count = RowsTogether(args, row, end);
      if (type == KvType::kF32) {
        StoreSlots<float>(args, row, count);
      } else if (type == KvType::kF16) {
        StoreSlots<hwy::float16_t>(args, row, count);
      } else if (type == KvType::kFp8) {
        StoreSlots<KvE4M3>(args, row, count);
      } else if (type == KvType::kInt8) {
        for (int64_t t = 0; t < count; ++t) StoreInt8Slot(args, row + t);
      } else {
        StoreSlots<hwy::bfloat16_t>(args, row, count);
      }
    }
  });
}

}  // namespace gannet::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif  // GANNET_IS_FAST
