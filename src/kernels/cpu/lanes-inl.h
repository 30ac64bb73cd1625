// Sixteen fp32 lanes on any instruction set (one, two or four vectors), so that all of them add in one order.
#if defined(GANNET_KERNELS_CPU_LANES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GANNET_KERNELS_CPU_LANES_INL_H_
#undef GANNET_KERNELS_CPU_LANES_INL_H_
#else
#define GANNET_KERNELS_CPU_LANES_INL_H_
#endif

#include <hwy/highway.h>

#include <cstdint>

#include "kernels/cpu/matmul_leaves.h"

HWY_BEFORE_NAMESPACE();
namespace gannet::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

using FloatTag = hn::CappedTag<float, 16>;
using IntTag = hn::RebindToSigned<FloatTag>;
using FloatVec = hn::Vec<FloatTag>;
using IntVec = hn::Vec<IntTag>;
constexpr int kLanes = static_cast<int>(HWY_LANES(float) < 16 ? HWY_LANES(float) : 16);
constexpr int kParts = 16 / kLanes;

// The constructors are written out because an implicit one is not compiled for the instruction set around it.
struct F32x16 {
  HWY_INLINE F32x16() {}
  FloatVec part[kParts];
};
struct I32x16 {
  HWY_INLINE I32x16() {}
  IntVec part[kParts];
};

#define GANNET_EACH_PART _Pragma("GCC unroll 4") for (int i = 0; i < kParts; ++i)

HWY_INLINE F32x16 Broadcast(float value) {
  F32x16 out;
  GANNET_EACH_PART out.part[i] = hn::Set(FloatTag(), value);
  return out;
}
HWY_INLINE I32x16 BroadcastInt(int32_t value) {
  I32x16 out;
  GANNET_EACH_PART out.part[i] = hn::Set(IntTag(), value);
  return out;
}
HWY_INLINE I32x16 LoadUnsigned(const std::byte* from) {
  const hn::Rebind<uint8_t, IntTag> bytes;
  I32x16 out;
  GANNET_EACH_PART {
    out.part[i] = hn::PromoteTo(IntTag(), hn::LoadU(bytes, reinterpret_cast<const uint8_t*>(from) + i * kLanes));
  }
  return out;
}
HWY_INLINE I32x16 MulInts(const I32x16& a, const I32x16& b) {
  I32x16 out;
  GANNET_EACH_PART out.part[i] = hn::Mul(a.part[i], b.part[i]);
  return out;
}
// Lanes [part * kLanes, (part + 1) * kLanes) of the sixteen at `from`, as fp32.
HWY_INLINE FloatVec LoadPart(const float* from, int part) { return hn::LoadU(FloatTag(), from + part * kLanes); }
HWY_INLINE FloatVec LoadPart(const hwy::float16_t* from, int part) {
  return hn::PromoteTo(FloatTag(), hn::LoadU(hn::Rebind<hwy::float16_t, FloatTag>(), from + part * kLanes));
}
HWY_INLINE FloatVec LoadPart(const hwy::bfloat16_t* from, int part) {
  const hn::Rebind<uint16_t, IntTag> half;
  const auto bits = hn::LoadU(half, reinterpret_cast<const uint16_t*>(from) + part * kLanes);
  return hn::BitCast(FloatTag(), hn::ShiftLeft<16>(hn::PromoteTo(IntTag(), bits)));
}
HWY_INLINE FloatVec LoadPart(const int8_t* from, int part) {
  const hn::Rebind<int8_t, IntTag> bytes;
  return hn::ConvertTo(FloatTag(), hn::PromoteTo(IntTag(), hn::LoadU(bytes, from + part * kLanes)));
}
// An FP8 code as its value / 256, whose bits are those of the code in other places; NaN is not one here.
struct E4M3 {
  uint8_t bits;
};
// The same in a cache, where NaN stays NaN.
struct KvE4M3 {
  uint8_t bits;
};
template <bool kNan>
HWY_INLINE FloatVec LoadE4M3(const uint8_t* from) {
  const hn::Rebind<uint8_t, FloatTag> bytes;
  const hn::Rebind<uint16_t, FloatTag> words;
  const hn::Rebind<hwy::float16_t, FloatTag> halves;
  const auto code = hn::PromoteTo(words, hn::LoadU(bytes, from));
  const auto size = hn::And(hn::ShiftLeft<7>(code), hn::Set(words, 0x3f80));
  auto bits = hn::Or(size, hn::And(hn::ShiftLeft<8>(code), hn::Set(words, 0x8000)));
  if (kNan) bits = hn::Or(bits, hn::IfThenElseZero(hn::Eq(size, hn::Set(words, 0x3f80)), hn::Set(words, 0x7c00)));
  return hn::PromoteTo(FloatTag(), hn::BitCast(halves, bits));
}
HWY_INLINE FloatVec LoadPart(const E4M3* from, int part) { return LoadE4M3<false>(&from->bits + part * kLanes); }
HWY_INLINE FloatVec LoadPart(const KvE4M3* from, int part) { return LoadE4M3<true>(&from->bits + part * kLanes); }
template <typename T>
HWY_INLINE F32x16 Load(const T* from) {
  F32x16 out;
  GANNET_EACH_PART out.part[i] = LoadPart(from, i);
  return out;
}
HWY_INLINE void Store(const F32x16& v, float* to) {
  GANNET_EACH_PART hn::StoreU(v.part[i], FloatTag(), to + i * kLanes);
}
HWY_INLINE F32x16 Add(const F32x16& a, const F32x16& b) {
  F32x16 out;
  GANNET_EACH_PART out.part[i] = hn::Add(a.part[i], b.part[i]);
  return out;
}
HWY_INLINE F32x16 Mul(const F32x16& a, const F32x16& b) {
  F32x16 out;
  GANNET_EACH_PART out.part[i] = hn::Mul(a.part[i], b.part[i]);
  return out;
}
HWY_INLINE F32x16 Div(const F32x16& a, const F32x16& b) {
  F32x16 out;
  GANNET_EACH_PART out.part[i] = hn::Div(a.part[i], b.part[i]);
  return out;
}
HWY_INLINE F32x16 Max(const F32x16& a, const F32x16& b) {
  F32x16 out;
  GANNET_EACH_PART out.part[i] = hn::Max(a.part[i], b.part[i]);
  return out;
}
HWY_INLINE F32x16 Abs(const F32x16& a) {
  F32x16 out;
  GANNET_EACH_PART out.part[i] = hn::Abs(a.part[i]);
  return out;
}
// a * b + c, rounded once.
HWY_INLINE F32x16 MulAdd(const F32x16& a, const F32x16& b, const F32x16& c) {
  F32x16 out;
  GANNET_EACH_PART out.part[i] = hn::MulAdd(a.part[i], b.part[i], c.part[i]);
  return out;
}
// c - a * b, rounded once.
HWY_INLINE F32x16 NegMulAdd(const F32x16& a, const F32x16& b, const F32x16& c) {
  F32x16 out;
  GANNET_EACH_PART out.part[i] = hn::NegMulAdd(a.part[i], b.part[i], c.part[i]);
  return out;
}
HWY_INLINE F32x16 ToFloat(const I32x16& a) {
  F32x16 out;
  GANNET_EACH_PART out.part[i] = hn::ConvertTo(FloatTag(), a.part[i]);
  return out;
}

template <class Tag>
HWY_INLINE float SumOfHalves(Tag, hn::Vec<Tag> v) {
#if HWY_TARGET != HWY_SCALAR
  if constexpr (hn::MaxLanes(Tag()) > 1) {
    const hn::Half<Tag> half;
    return SumOfHalves(half, hn::Add(hn::LowerHalf(half, v), hn::UpperHalf(half, v)));
  }
#endif
  return hn::GetLane(v);
}
// Lane i with i + 8, then + 4, + 2, + 1: one order on every instruction set.
HWY_INLINE float SumOfLanes(const F32x16& v) {
  FloatVec sums[kParts];
  GANNET_EACH_PART sums[i] = v.part[i];
  for (int width = kParts / 2; width > 0; width /= 2) {
    for (int i = 0; i < width; ++i) sums[i] = hn::Add(sums[i], sums[i + width]);
  }
  return SumOfHalves(FloatTag(), sums[0]);
}
HWY_INLINE float MaxOfLanes(const F32x16& v) {
  FloatVec most = v.part[0];
  for (int i = 1; i < kParts; ++i) most = hn::Max(most, v.part[i]);
  return hn::GetLane(hn::MaxOfLanes(FloatTag(), most));
}

// x become exp(x) for x <= 0 (or NaN): 2^n * sum_{i <= 7} r^i / i! with |r| <= ln(2) / 2, where the first omitted term
// is below 6e-9; relative error below 2e-7. Zero below -87. Operation by operation for all of them: each is one long
// chain, of which the compiler would put one behind the other.
template <int N>
HWY_INLINE void ExpOfNegatives(FloatVec (&x)[N]) {
#define GANNET_EACH_OF_N _Pragma("GCC unroll 8") for (int i = 0; i < N; ++i)
  const FloatTag f;
  // Adding 1.5 * 2^23 rounds to an integer, to even where there are two, and leaves it in the lowest bits.
  const FloatVec round = hn::Set(f, 12582912.0f);
  FloatVec n[N];
  FloatVec power[N];
  FloatVec r[N];
  FloatVec p[N];
  GANNET_EACH_OF_N r[i] = hn::Max(hn::Set(f, -87.0f), x[i]);  // in this order NaN stays NaN
  GANNET_EACH_OF_N n[i] = hn::Add(hn::Mul(r[i], hn::Set(f, 1.44269504088896f)), round);
  GANNET_EACH_OF_N {
    const IntVec exponent = hn::Add(hn::ShiftLeft<23>(hn::BitCast(IntTag(), n[i])), hn::Set(IntTag(), 127 << 23));
    power[i] = hn::IfThenZeroElse(hn::Lt(x[i], hn::Set(f, -87.0f)), hn::BitCast(f, exponent));
  }
  GANNET_EACH_OF_N n[i] = hn::Sub(n[i], round);
  // ln(2) in two parts; the first has 10 trailing zero bits.
  GANNET_EACH_OF_N r[i] = hn::NegMulAdd(n[i], hn::Set(f, 0.693145752f), r[i]);
  GANNET_EACH_OF_N r[i] = hn::NegMulAdd(n[i], hn::Set(f, 1.42860677e-6f), r[i]);
  GANNET_EACH_OF_N p[i] = hn::MulAdd(hn::Set(f, 1.0f / 5040), r[i], hn::Set(f, 1.0f / 720));
  for (const float term : {1.0f / 120, 1.0f / 24, 1.0f / 6, 0.5f, 1.0f, 1.0f}) {
    GANNET_EACH_OF_N p[i] = hn::MulAdd(p[i], r[i], hn::Set(f, term));
  }
  GANNET_EACH_OF_N x[i] = hn::Mul(p[i], power[i]);
#undef GANNET_EACH_OF_N
}
HWY_INLINE F32x16 ExpOfNegative(F32x16 x) {
  ExpOfNegatives(x.part);
  return x;
}

}  // namespace
}  // namespace gannet::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
