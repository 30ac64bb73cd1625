// Rows of keys and values into cache blocks.
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

// `count` elements of a row, `stride` apart in the cache.
template <typename T>
HWY_INLINE void StoreRow(const float* from, int64_t count, T* to, int64_t stride) {
  T narrow[16];
  for (int64_t i = 0; i < count; i += 16) {
    const int64_t some = count - i < 16 ? count - i : 16;
    if (some == 16) {
      Narrow(from + i, narrow);
    } else {
      float padded[16] = {};
      std::memcpy(padded, from + i, static_cast<size_t>(some) * sizeof(float));
      Narrow(padded, narrow);
    }
    for (int64_t j = 0; j < some; ++j) std::memcpy(to + (i + j) * stride, narrow + j, sizeof(T));
  }
}

template <typename T>
void StoreSlot(const KvStoreArgs& args, int64_t row) {
  const KvLayout& layout = args.pages.layout;
  const int64_t slot = args.slots[static_cast<size_t>(row)];
  std::byte* block = args.pages.block(slot / kBlockTokens);
  const int64_t token = slot % kBlockTokens;
  const float* keys = args.keys + row * args.key_stride;
  if (layout.latent) {
    T* to = reinterpret_cast<T*>(block) + token * PaddedKeyDim(layout);
    StoreRow(keys, layout.key_dim, to, 1);
    std::memset(static_cast<void*>(to + layout.key_dim), 0,
                static_cast<size_t>(PaddedKeyDim(layout) - layout.key_dim) * sizeof(T));
    return;
  }
  const float* values = args.values + row * args.value_stride;
  for (int64_t head = 0; head < layout.kv_heads; ++head) {
    T* key = reinterpret_cast<T*>(block + KeyOffset(layout, head)) + token;
    T* value = reinterpret_cast<T*>(block + ValueOffset(layout, head)) + token * PaddedValueDim(layout);
    StoreRow(keys + head * layout.key_dim, layout.key_dim, key, kBlockTokens);
    StoreRow(values + head * layout.value_dim, layout.value_dim, value, 1);
  }
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
    for (int64_t row = task * kRowsPerTask; row < rows && row < (task + 1) * kRowsPerTask; ++row) {
      if (type == KvType::kF32) {
        StoreSlot<float>(args, row);
      } else if (type == KvType::kF16) {
        StoreSlot<hwy::float16_t>(args, row);
      } else if (type == KvType::kFp8) {
        StoreSlot<KvE4M3>(args, row);
      } else if (type == KvType::kInt8) {
        StoreInt8Slot(args, row);
      } else {
        StoreSlot<hwy::bfloat16_t>(args, row);
      }
    }
  });
}

}  // namespace gannet::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif  // GANNET_IS_FAST
