// Floats to integers of one scale.
#if defined(GANNET_KERNELS_CPU_QUANTIZE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GANNET_KERNELS_CPU_QUANTIZE_INL_H_
#undef GANNET_KERNELS_CPU_QUANTIZE_INL_H_
#else
#define GANNET_KERNELS_CPU_QUANTIZE_INL_H_
#endif

#include <bit>
#include <limits>

#include "kernels/cpu/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gannet::HWY_NAMESPACE {
namespace {

// The larger magnitude of each lane, as bits: magnitudes compare as integers; infinities and NaN are the largest.
HWY_INLINE IntVec LargerMagnitudes(const F32x16& values, IntVec bits = hn::Zero(IntTag())) {
  GANNET_EACH_PART bits = hn::Max(bits, hn::BitCast(IntTag(), hn::Abs(values.part[i])));
  return bits;
}

// Values whose largest magnitude is the largest lane of `bits` become multiples of it / most. Less than 2^-100 counts
// as zero; what is not finite has a NaN scale.
struct IntegerScale {
  HWY_INLINE IntegerScale(IntVec bits, float most) : IntegerScale(hn::GetLane(hn::MaxOfLanes(IntTag(), bits)), most) {}
  HWY_INLINE IntegerScale(int32_t bits, float most) {
    const float largest = std::bit_cast<float>(bits);
    const bool finite = largest <= std::numeric_limits<float>::max();
    counts = finite && largest >= 0x1p-100f;
    scale = counts ? largest / most : finite ? 0.0f : std::numeric_limits<float>::quiet_NaN();
    inverse = counts ? most / largest : 0.0f;
  }
  bool counts;
  float scale;
  float inverse;
};

// As int8 in [-127, 127] of dims [0, dims), then zeros up to a multiple of 16. Returns the scale.
HWY_INLINE float QuantizeInt8(const float* from, int64_t dims, int8_t* to) {
  const hn::Rebind<int8_t, IntTag> bytes;
  alignas(64) float last[16] = {};
  const int64_t whole = dims / 16 * 16;
  for (int64_t d = whole; d < dims; ++d) last[d - whole] = from[d];
  IntVec bits = LargerMagnitudes(Load(last));
  for (int64_t d = 0; d < whole; d += 16) bits = LargerMagnitudes(Load(from + d), bits);
  const IntegerScale scale(bits, 127);
  const F32x16 inverse = Broadcast(scale.inverse);
  for (int64_t d = 0; d < dims; d += 16) {
    const F32x16 scaled = Mul(Load(d < whole ? from + d : last), inverse);
    GANNET_EACH_PART {
      const IntVec quants = scale.counts ? hn::NearestInt(scaled.part[i]) : hn::Zero(IntTag());
      hn::StoreU(hn::DemoteTo(bytes, quants), bytes, to + d + kLanes * i);
    }
  }
  return scale.scale;
}

}  // namespace
}  // namespace gannet::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
