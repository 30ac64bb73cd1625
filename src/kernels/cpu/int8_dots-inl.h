// Products of int8 rows with tiles of quantized weights, at the instruction set around it. Included inside a
// namespace, more than once: the leaves with VNNI live beside those without (GANNET_INT8_VNNI).
#include "kernels/cpu/byte_vectors-inl.h"

// R rows of x by H halves of 16 weight rows are summed at a time: 2 R H int32 and R H fp32 sums fill the registers of
// VNNI. Without it the compiler would share the broadcast x of two halves, and spill it where there are several rows.
constexpr int kMaxRows = 4;
constexpr int kHalves = GANNET_INT8_VNNI && kParts == 1 ? 2 : 1;
// Where one or two rows (up to seven of one plane) wait for the weights, one pass over them is worth what it spills.
#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3
constexpr int kHalvesOfFew = 2;
#else
constexpr int kHalvesOfFew = 1;
#endif

// Few rows wait for memory alone; they ask for a line of what soon comes with each that they read.
constexpr bool LineByLine(int rows) { return rows < kMaxRows; }

// The quants of these 16 / kParts weight rows in group `g`, of halves of `half_bytes`.
HWY_INLINE const std::byte* QuantsOf(const std::byte* w, int64_t half_bytes, int v, int g) {
  return w + half_bytes * (v / kParts) + 64 * g + 64 / kParts * (v % kParts);
}
template <int R>
HWY_INLINE void FetchLine(const std::byte* soon, int64_t half_bytes, int v, int g) {
  if (LineByLine(R) && v % kParts == 0) __builtin_prefetch(QuantsOf(soon, half_bytes, v, g));
}

// DotQ8: sum[r][h] = the exact product of row r, 254 * high + low, with the 16 weight rows of half h, over groups
// [kFrom, kTo) of four values of the block; `sums_x` has the sums of these values. DotQ4: the same of nibbles 0..15,
// added to what sum holds. No int32 overflows on the way: 254 * 255 * 127 * 32 < 2^28 and 128 * 32258 * 32 < 2^27.

#if GANNET_INT8_VNNI

// The vector of int32 sums `v` of a row: kParts for each half.
template <int R, int H>
HWY_INLINE Bytes& Raw(I32x16 (&sum)[R][H], int r, int v) {
  return sum[r][v / kParts].part[v % kParts].raw;
}

// Sums of N such vectors, in both planes.
template <int R, int N>
struct PlaneSums {
  Bytes high[R][N];
  Bytes low[R][N];

  // Four weights of each row by four values of each row of x. `x` is the four values of row 0.
  HWY_INLINE void AddFour(const Bytes (&weights)[N], const int8_t* x) {
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const Bytes four_high = SetWords(FourBytes(x + kPlaneBytes * r));
      const Bytes four_low = SetWords(FourBytes(x + kPlaneBytes * r + kQuantBlock));
#pragma GCC unroll 4
      for (int i = 0; i < N; ++i) {
        high[r][i] = AddDots(high[r][i], weights[i], four_high);
        low[r][i] = AddDots(low[r][i], weights[i], four_low);
      }
    }
  }
  template <int H>
  HWY_INLINE void Join(int v, I32x16 (&sum)[R][H]) const {
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
      for (int i = 0; i < N; ++i) Raw(sum, r, v + i) = Add32(low[r][i], Mul32(high[r][i], SetWords(kHighUnit)));
    }
  }
};

template <int kFrom, int kTo, int R, int H>
HWY_INLINE void DotQ8(const std::byte* w, const std::byte* soon, const int8_t* x, const int32_t (&sums_x)[R],
                      I32x16 (&sum)[R][H]) {
  // Sixteen registers have room for one vector. And where few rows wait for the weights, the lines of two halves taken
  // in turn come slower than those of one after the other: 24 to 40 % on Zen 4, where DotQ4 gains nothing from it.
  constexpr int kOnce = kParts == 1 && R == kMaxRows ? H : 1;
#pragma GCC unroll 4
  for (int v = 0; v < kParts * H; v += kOnce) {
    const int8_t* const values = kParts > 1 && R > 1 ? Anew(x) : x;
    PlaneSums<R, kOnce> sums;
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
      for (int i = 0; i < kOnce; ++i) {
        sums.high[r][i] = SetWords(0);
        sums.low[r][i] = SetWords(-kQ8Offset * sums_x[r]);
      }
    }
#pragma GCC unroll 8
    for (int g = kFrom; g < kTo; ++g) {
      Bytes weights[kOnce];
#pragma GCC unroll 4
      for (int i = 0; i < kOnce; ++i) {
        weights[i] = LoadQ8(QuantsOf(w, 512, v + i, g));
        FetchLine<R>(soon, 512, v + i, g);
      }
      sums.AddFour(weights, values + 4 * g);
    }
    sums.Join(v, sum);
  }
}

template <int R, int H>
HWY_INLINE void DotQ4(const std::byte* w, const std::byte* soon, const int8_t* x, I32x16 (&sum)[R][H]) {
  constexpr int kOnce = kParts == 1 ? H : 1;
  const Bytes nibble = SetWords(0x0f0f0f0f);
#pragma GCC unroll 4
  for (int v = 0; v < kParts * H; v += kOnce) {
    const int8_t* const values = kParts > 1 && R > 1 ? Anew(x) : x;
    PlaneSums<R, kOnce> sums;
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
      for (int i = 0; i < kOnce; ++i) {
        sums.high[r][i] = SetWords(0);
        sums.low[r][i] = Raw(sum, r, v + i);
      }
    }
#pragma GCC unroll 4
    for (int g = 0; g < 4; ++g) {
      Bytes first[kOnce];
      Bytes second[kOnce];
#pragma GCC unroll 4
      for (int i = 0; i < kOnce; ++i) {
        const Bytes bytes = LoadBytes(QuantsOf(w, 256, v + i, g));
        FetchLine<R>(soon, 256, v + i, g);
        first[i] = And(bytes, nibble);
        second[i] = HighNibbles(bytes, nibble);
      }
      sums.AddFour(first, values + 4 * g);
      sums.AddFour(second, values + 16 + 4 * g);
    }
    sums.Join(v, sum);
  }
}

#elif HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3

#if HWY_TARGET == HWY_AVX3
HWY_INLINE void JoinPlanes(const int8_t* x, int16_t* q) {
  const __m512i high = _mm512_cvtepi8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(x)));
  const __m512i low = _mm512_cvtepi8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(x + kQuantBlock)));
  _mm512_store_si512(q, _mm512_add_epi16(_mm512_mullo_epi16(high, _mm512_set1_epi16(kHighUnit)), low));
}
#else
HWY_INLINE void JoinPlanes(const int8_t* x, int16_t* q) {
#pragma GCC unroll 2
  for (int i = 0; i < kQuantBlock; i += 16) {
    const __m256i high = _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(x + i)));
    const __m256i low = _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(x + kQuantBlock + i)));
    _mm256_store_si256(reinterpret_cast<__m256i*>(q + i),
                       _mm256_add_epi16(_mm256_mullo_epi16(high, _mm256_set1_epi16(kHighUnit)), low));
  }
}
#endif

// Eight-bit weights have no room for pairs in 16 bits; as 16-bit values they meet both planes of x at once, q = 254
// high + low. Two products of a row are added at a time, |sum| <= 2 * 255 * 32258, and the two halves of a row at the
// end.
template <int kFrom, int kTo, int R, int H>
HWY_INLINE void DotQ8(const std::byte* w, const std::byte* soon, const int8_t* x, const int32_t (&sums_x)[R],
                      I32x16 (&sum)[R][H]) {
  alignas(64) int16_t q[R][kQuantBlock];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) JoinPlanes(x + kPlaneBytes * r, q[r]);
#pragma GCC unroll 4
  for (int v = 0; v < kParts * H; ++v) {  // a vector of int32 sums of rows is two vectors of pairs
    const std::byte* from = QuantsOf(w, 512, v, 0);
    const int16_t* const factors = R > 1 ? Anew(q[0]) : q[0];
    Bytes pairs[R][2];
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) pairs[r][0] = pairs[r][1] = SetWords(0);
#pragma GCC unroll 8
    for (int g = kFrom; g < kTo; ++g) {
      FetchLine<R>(soon, 512, v, g);
      const Bytes weights[2] = {WidenBytes(from + 64 * g), WidenBytes(from + 64 * g + 32 / kParts)};
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
        const Bytes four = FourShorts(factors + kQuantBlock * r + 4 * g);
        pairs[r][0] = Pinned(Add32(pairs[r][0], Madd(weights[0], four)));
        pairs[r][1] = Pinned(Add32(pairs[r][1], Madd(weights[1], four)));
      }
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      auto& s = sum[r][v / kParts].part[v % kParts].raw;
      s = Add32(AddNeighbours(pairs[r][0], pairs[r][1]), SetWords(-128 * sums_x[r]));
    }
  }
}

// maddubs adds two u8 * s8 products to an s16 with saturation, never reached here: |x| <= 127, so that eight pairs of
// nibbles stay within 8 * 2 * 15 * 127 = 30480.
template <int R, int H>
HWY_INLINE void DotQ4(const std::byte* w, const std::byte* soon, const int8_t* x, I32x16 (&sum)[R][H]) {
  const Bytes nibble = SetWords(0x0f0f0f0f);
#pragma GCC unroll 4
  for (int v = 0; v < kParts * H; ++v) {
    const int8_t* const values = Anew(x);
    Bytes pairs_high[R];
    Bytes pairs_low[R];
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) pairs_high[r] = pairs_low[r] = SetWords(0);
#pragma GCC unroll 4
    for (int g = 0; g < 4; ++g) {
      const Bytes bytes = LoadBytes(QuantsOf(w, 256, v, g));
      FetchLine<R>(soon, 256, v, g);
      const Bytes first = And(bytes, nibble);
      const Bytes second = HighNibbles(bytes, nibble);
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
        const int8_t* four = values + kPlaneBytes * r + 4 * g;
        pairs_high[r] = Pinned(Add16(pairs_high[r], Pairs(first, SetWords(FourBytes(four)))));
        pairs_high[r] = Pinned(Add16(pairs_high[r], Pairs(second, SetWords(FourBytes(four + 16)))));
        four += kQuantBlock;
        pairs_low[r] = Pinned(Add16(pairs_low[r], Pairs(first, SetWords(FourBytes(four)))));
        pairs_low[r] = Pinned(Add16(pairs_low[r], Pairs(second, SetWords(FourBytes(four + 16)))));
      }
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      auto& s = sum[r][v / kParts].part[v % kParts].raw;
      s = Add32(s, Add32(Widen(pairs_high[r], kHighUnit), Widen(pairs_low[r], 1)));
    }
  }
}

#else  // any machine, one half at a time

HWY_INLINE I32x16 LoadInts(const int32_t* from) {
  I32x16 out;
  GANNET_EACH_PART out.part[i] = hn::LoadU(IntTag(), from + i * kLanes);
  return out;
}

HWY_INLINE void JoinPlanes(const int8_t* x, int32_t* q) {
  for (int k = 0; k < kQuantBlock; ++k) q[k] = kHighUnit * x[k] + x[kQuantBlock + k];
}

template <int kFrom, int kTo, int R, int H>
HWY_INLINE void DotQ8(const std::byte* w, const std::byte* soon, const int8_t* x, const int32_t (&sums_x)[R],
                      I32x16 (&sum)[R][H]) {
  for (int r = 0; r < R; ++r) {
    int32_t q[kQuantBlock];
    JoinPlanes(x + kPlaneBytes * r, q);
    int32_t total[16];
    for (int n = 0; n < 16; ++n) total[n] = -128 * sums_x[r];
    for (int g = kFrom; g < kTo; ++g) {
      FetchLine<R>(soon, 512, 0, g);
      for (int n = 0; n < 16; ++n) {
        for (int i = 0; i < 4; ++i) total[n] += std::to_integer<int32_t>(w[64 * g + 4 * n + i]) * q[4 * g + i];
      }
    }
    sum[r][0] = LoadInts(total);
  }
}

template <int R, int H>
HWY_INLINE void DotQ4(const std::byte* w, const std::byte* soon, const int8_t* x, I32x16 (&sum)[R][H]) {
  for (int r = 0; r < R; ++r) {
    int32_t q[kQuantBlock];
    JoinPlanes(x + kPlaneBytes * r, q);
    int32_t total[16];
    for (int p = 0; p < kParts; ++p) hn::StoreU(sum[r][0].part[p], IntTag(), total + p * kLanes);
    for (int g = 0; g < 4; ++g) {
      FetchLine<R>(soon, 256, 0, g);
      for (int n = 0; n < 16; ++n) {
        for (int i = 0; i < 4; ++i) {
          const int32_t byte = std::to_integer<int32_t>(w[64 * g + 4 * n + i]);
          total[n] += (byte & 15) * q[4 * g + i] + (byte >> 4) * q[16 + 4 * g + i];
        }
      }
    }
    sum[r][0] = LoadInts(total);
  }
}

#endif

// The sums of R rows and H halves of a tile, out of `sums` [rows][kTileRows] and back.
template <int R, int H>
HWY_INLINE void LoadSums(const float* sums, F32x16 (&total)[R][H]) {
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 2
    for (int h = 0; h < H; ++h) total[r][h] = Load(sums + r * kTileRows + 16 * h);
  }
}
template <int R, int H>
HWY_INLINE void StoreSums(const F32x16 (&total)[R][H], float* sums) {
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 2
    for (int h = 0; h < H; ++h) Store(total[r][h], sums + r * kTileRows + 16 * h);
  }
}
// power * scale. Of numbers whose product is normal the exponents are added, which leaves the multipliers alone.
template <bool kNormal>
HWY_INLINE F32x16 Scaled(const F32x16& power, float scale) {
  if constexpr (!kNormal) return Mul(power, Broadcast(scale));
  F32x16 out;
  GANNET_EACH_PART {
    const IntVec exponent = hn::Sub(hn::BitCast(IntTag(), power.part[i]), hn::Set(IntTag(), 127 << 23));
    out.part[i] = hn::BitCast(FloatTag(), hn::Add(exponent, hn::Set(IntTag(), std::bit_cast<int32_t>(scale))));
  }
  return out;
}

// total[r][h] = fma(sum[r][h], scale_w * scale_x[r], total[r][h]) for one half h; kNormal: see Scaled.
template <bool kNormal = false, int R, int H>
HWY_INLINE void AddSums(const I32x16 (&sum)[R][H], int h, const F32x16& scale_w, const float* scale_x,
                        F32x16 (&total)[R][H]) {
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
    total[r][h] = MulAdd(ToFloat(sum[r][h]), Scaled<kNormal>(scale_w, scale_x[r]), total[r][h]);
  }
}
