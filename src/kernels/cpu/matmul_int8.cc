// Quantization of activation rows, and the int8 tiles of every instruction set.
#include <bit>
#include <cstddef>
#include <cstdint>

#include "kernels/cpu/matmul_amx.h"
#include "kernels/cpu/matmul_leaves.h"
#include "kernels/cpu/target_setup.h"
#include "kernels/cpu/targets.h"

// clang-format off
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/matmul_int8.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
#include "kernels/cpu/lanes-inl.h"
#include "kernels/cpu/quantize-inl.h"
// clang-format on

#if GANNET_IS_FAST
HWY_BEFORE_NAMESPACE();
namespace gannet::HWY_NAMESPACE {
namespace {

constexpr int64_t kLine = 64;
constexpr int64_t kFarBytes = 16384;         // for L2, where a single row tile goes over the weights
constexpr int64_t kStretchBytes = 18 << 10;  // at most, of a weight tile in L1
constexpr float kMost = static_cast<float>(kMostQuantized);

void QuantizeRow(const float* x, int64_t blocks, int row, int rows, std::byte* tile) {
  const hn::Rebind<int8_t, IntTag> bytes;
  for (int64_t b = 0; b < blocks; ++b, x += kQuantBlock, tile += rows * kQuantizedBytes) {
    const F32x16 half[2] = {Load(x), Load(x + 16)};
    const IntegerScale block(LargerMagnitudes(half[1], LargerMagnitudes(half[0])), kMost);
    const F32x16 inverse = Broadcast(block.inverse);
    int8_t* values = reinterpret_cast<int8_t*>(tile) + row * kPlaneBytes;
    int32_t sum_of[2];
    for (int h = 0; h < 2; ++h) {
      IntVec sums = hn::Zero(IntTag());
      const F32x16 scaled = Mul(half[h], inverse);
      GANNET_EACH_PART {
        const IntVec q = hn::NearestInt(scaled.part[i]);
        sums = hn::Add(sums, q);
        // A tie, q = 254 n + 127, may go either way: low is 127 or -127.
        const FloatVec units = hn::Mul(hn::ConvertTo(FloatTag(), q), hn::Set(FloatTag(), 1.0f / kHighUnit));
        const IntVec high = hn::NearestInt(units);
        const IntVec low = hn::Sub(q, hn::Mul(high, hn::Set(IntTag(), kHighUnit)));
        hn::StoreU(hn::DemoteTo(bytes, high), bytes, values + 16 * h + kLanes * i);
        hn::StoreU(hn::DemoteTo(bytes, low), bytes, values + kQuantBlock + 16 * h + kLanes * i);
      }
      sum_of[h] = block.counts ? hn::GetLane(hn::SumOfLanes(IntTag(), sums)) : 0;
    }
    const int32_t sum = sum_of[0] + sum_of[1];
    float* floats = reinterpret_cast<float*>(tile + rows * kPlaneBytes) + row;
    floats[0] = block.scale;
    floats[rows] = block.scale * static_cast<float>(sum);
    int32_t* ints = reinterpret_cast<int32_t*>(floats + 2 * rows);
    ints[0] = sum;
    ints[rows] = sum_of[0];
  }
}

// Of sixteen values.
HWY_INLINE int32_t SumOfBytes(const int8_t* values) {
  const hn::Full128<uint8_t> bytes;
  const auto shifted = hn::Xor(hn::LoadU(bytes, reinterpret_cast<const uint8_t*>(values)), hn::Set(bytes, 128));
  const auto sums = hn::SumsOf8(shifted);
  return static_cast<int32_t>(hn::ExtractLane(sums, 0) + hn::ExtractLane(sums, 1)) - 16 * 128;
}

void QuantizeRowFp4(const float* x, int64_t blocks, int row, int rows, std::byte* tile) {
  const hn::Rebind<int8_t, IntTag> bytes;
  ScaleRange* const range_of_tile = reinterpret_cast<ScaleRange*>(tile);
  ScaleRange range = row == 0 ? ScaleRange() : *range_of_tile;
  tile += kOnePlaneHeader;
  for (int64_t b = 0; b < blocks; ++b, x += kQuantBlock, tile += rows * kOnePlaneBytes) {
    const F32x16 half[2] = {Load(x), Load(x + 16)};
    const IntegerScale block(LargerMagnitudes(half[1], LargerMagnitudes(half[0])), static_cast<float>(kMostOfOnePlane));
    const F32x16 inverse = Broadcast(block.inverse);
    int8_t* values = reinterpret_cast<int8_t*>(tile) + row * kQuantBlock;
    for (int h = 0; h < 2; ++h) {
      const F32x16 scaled = Mul(half[h], inverse);
      GANNET_EACH_PART {
        const IntVec q = hn::NearestInt(scaled.part[i]);
        hn::StoreU(hn::DemoteTo(bytes, q), bytes, values + 16 * h + kLanes * i);
      }
    }
    const int32_t first = block.counts ? SumOfBytes(values) : 0;
    const int32_t second = block.counts ? SumOfBytes(values + 16) : 0;
    float* floats = reinterpret_cast<float*>(tile + rows * kQuantBlock) + row;
    floats[0] = 0.5f * block.scale;
    range.Add(static_cast<uint8_t>(std::bit_cast<int32_t>(floats[0]) >> 23));
    int32_t* ints = reinterpret_cast<int32_t*>(floats + rows);
    ints[0] = -12 * (first + second);
    ints[rows] = -12 * first;
  }
  *range_of_tile = range;
}

}  // namespace

namespace common {  // a name of its own: argument-dependent look-up must not find these from namespace vnni
namespace {

#define GANNET_INT8_VNNI 0
#include "kernels/cpu/int8_tiles-inl.h"
#undef GANNET_INT8_VNNI

}  // namespace
}  // namespace common

extern const Int8Leaves kInt8Leaves = {QuantizeRow, common::Tiles, QuantizeRowFp4, common::TilesFp4};

}  // namespace gannet::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#define GANNET_VNNI_FILE "kernels/cpu/int8_tiles-inl.h"
#define GANNET_VNNI_EXPORT(suffix, name) \
  extern const Int8Leaves kInt8Leaves##suffix = {QuantizeRow, name::Tiles, QuantizeRowFp4, name::TilesFp4};
#include "kernels/cpu/vnni_targets-inl.h"

#if HWY_TARGET == HWY_AVX3
namespace gannet::HWY_NAMESPACE {
extern const Int8Leaves kInt8LeavesAmx = {QuantizeRow, AmxTiles, QuantizeRowFp4, AmxTilesFp4};
}  // namespace gannet::HWY_NAMESPACE
#endif

#endif  // GANNET_IS_FAST
