// Vectors of bytes, for AVX2, AVX512 and SDOT: what int8_dots-inl.h and attention_int8-inl.h are made of. Included
// inside a namespace, as they are, before either.

HWY_INLINE int32_t FourBytes(const int8_t* from) {
  int32_t word;
  __builtin_memcpy(&word, from, 4);
  return word;
}

#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3

// A sum that is finished before what is added to it next: the compiler, free to add integers in any order, would
// compute all products of a tile first, and spill them.
template <class Vector>
HWY_INLINE Vector Pinned(Vector sum) {
  asm("" : "+v"(sum));
  return sum;
}

// The same pointer, from which everything is loaded anew: what the compiler would keep for later it would spill.
template <typename T>
HWY_INLINE const T* Anew(const T* from) {
  asm volatile("" : "+r"(from) : : "memory");
  return from;
}

HWY_INLINE int64_t EightBytes(const int16_t* from) {
  int64_t word;
  __builtin_memcpy(&word, from, 8);
  return word;
}
#if HWY_TARGET == HWY_AVX3
using Bytes = __m512i;
HWY_INLINE Bytes LoadBytes(const std::byte* from) { return _mm512_loadu_si512(from); }
HWY_INLINE Bytes SetWords(int32_t word) { return _mm512_set1_epi32(word); }
HWY_INLINE Bytes And(Bytes a, Bytes b) { return _mm512_and_si512(a, b); }
HWY_INLINE Bytes Xor(Bytes a, Bytes b) { return _mm512_xor_si512(a, b); }
HWY_INLINE Bytes HighNibbles(Bytes a, Bytes nibble) { return And(_mm512_srli_epi16(a, 4), nibble); }
HWY_INLINE Bytes WidenBytes(const std::byte* from) {
  return _mm512_cvtepu8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
}
HWY_INLINE Bytes WidenSigned(const std::byte* from) {
  return _mm512_cvtepi8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
}
HWY_INLINE Bytes FourShorts(const int16_t* from) { return _mm512_set1_epi64(EightBytes(from)); }
HWY_INLINE Bytes Madd(Bytes a, Bytes b) { return _mm512_madd_epi16(a, b); }
// a0 + a1, a2 + a3, ..., then those of b.
HWY_INLINE Bytes AddNeighbours(Bytes a, Bytes b) {
  const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  const __m512i odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
  return _mm512_add_epi32(_mm512_permutex2var_epi32(a, even, b), _mm512_permutex2var_epi32(a, odd, b));
}
HWY_INLINE Bytes Pairs(Bytes u, Bytes s) { return _mm512_maddubs_epi16(u, s); }
HWY_INLINE Bytes Add16(Bytes a, Bytes b) { return _mm512_add_epi16(a, b); }
HWY_INLINE Bytes Add32(Bytes a, Bytes b) { return _mm512_add_epi32(a, b); }
HWY_INLINE Bytes Widen(Bytes a, int16_t factor) { return _mm512_madd_epi16(a, _mm512_set1_epi16(factor)); }
HWY_INLINE Bytes Mul32(Bytes a, Bytes b) { return _mm512_mullo_epi32(a, b); }
HWY_INLINE Bytes Shuffle(Bytes table, Bytes at) { return _mm512_shuffle_epi8(table, at); }
HWY_INLINE Bytes Repeat16(__m128i bytes) { return _mm512_broadcast_i32x4(bytes); }
#else
using Bytes = __m256i;
HWY_INLINE Bytes LoadBytes(const std::byte* from) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)); }
HWY_INLINE Bytes SetWords(int32_t word) { return _mm256_set1_epi32(word); }
HWY_INLINE Bytes And(Bytes a, Bytes b) { return _mm256_and_si256(a, b); }
HWY_INLINE Bytes Xor(Bytes a, Bytes b) { return _mm256_xor_si256(a, b); }
HWY_INLINE Bytes HighNibbles(Bytes a, Bytes nibble) { return And(_mm256_srli_epi16(a, 4), nibble); }
HWY_INLINE Bytes WidenBytes(const std::byte* from) {
  return _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
}
HWY_INLINE Bytes WidenSigned(const std::byte* from) {
  return _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
}
HWY_INLINE Bytes FourShorts(const int16_t* from) { return _mm256_set1_epi64x(EightBytes(from)); }
HWY_INLINE Bytes Madd(Bytes a, Bytes b) { return _mm256_madd_epi16(a, b); }
// a0 + a1, a2 + a3, ..., then those of b.
HWY_INLINE Bytes AddNeighbours(Bytes a, Bytes b) { return _mm256_permute4x64_epi64(_mm256_hadd_epi32(a, b), 0xd8); }
HWY_INLINE Bytes Pairs(Bytes u, Bytes s) { return _mm256_maddubs_epi16(u, s); }
HWY_INLINE Bytes Add16(Bytes a, Bytes b) { return _mm256_add_epi16(a, b); }
HWY_INLINE Bytes Add32(Bytes a, Bytes b) { return _mm256_add_epi32(a, b); }
HWY_INLINE Bytes Widen(Bytes a, int16_t factor) { return _mm256_madd_epi16(a, _mm256_set1_epi16(factor)); }
HWY_INLINE Bytes Mul32(Bytes a, Bytes b) { return _mm256_mullo_epi32(a, b); }
HWY_INLINE Bytes Shuffle(Bytes table, Bytes at) { return _mm256_shuffle_epi8(table, at); }
HWY_INLINE Bytes Repeat16(__m128i bytes) { return _mm256_broadcastsi128_si256(bytes); }
#endif

// Four products u8 * s8 added to each int32, without saturation.
#if GANNET_INT8_VNNI == GANNET_VNNI_512
HWY_INLINE Bytes AddDots(Bytes sum, Bytes u, Bytes s) { return _mm512_dpbusd_epi32(sum, u, s); }
#elif GANNET_INT8_VNNI == GANNET_VNNI_256_VEX
HWY_INLINE Bytes AddDots(Bytes sum, Bytes u, Bytes s) { return _mm256_dpbusd_avx_epi32(sum, u, s); }
#elif GANNET_INT8_VNNI == GANNET_VNNI_256_EVEX
HWY_INLINE Bytes AddDots(Bytes sum, Bytes u, Bytes s) { return _mm256_dpbusd_epi32(sum, u, s); }
#endif
#if GANNET_INT8_VNNI
HWY_INLINE Bytes AddDotsOfBytes(Bytes sum, Bytes u, Bytes s) { return AddDots(sum, u, s); }
// Weights of kQ8 as AddDots takes them, and what is added to each.
HWY_INLINE Bytes LoadQ8(const std::byte* from) { return LoadBytes(from); }
constexpr int kQ8Offset = 128;
// Sixteen int8, plus kQ8Offset, as often as a vector holds them.
HWY_INLINE Bytes RepeatQ8(const std::byte* from) {
  return Xor(Repeat16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from))), SetWords(INT32_C(-0x7f7f7f80)));
}
#endif

#elif GANNET_INT8_VNNI == GANNET_SDOT_128

template <typename T>
HWY_INLINE const T* Anew(const T* from) {
  asm volatile("" : "+r"(from) : : "memory");
  return from;
}
using Bytes = int32x4_t;
HWY_INLINE Bytes Pinned(Bytes sum) {
  asm("" : "+w"(sum));
  return sum;
}
HWY_INLINE Bytes LoadBytes(const std::byte* from) {
  return vreinterpretq_s32_u8(vld1q_u8(reinterpret_cast<const uint8_t*>(from)));
}
HWY_INLINE Bytes SetWords(int32_t word) { return vdupq_n_s32(word); }
HWY_INLINE Bytes And(Bytes a, Bytes b) { return vandq_s32(a, b); }
HWY_INLINE Bytes HighNibbles(Bytes a, Bytes) { return vreinterpretq_s32_u8(vshrq_n_u8(vreinterpretq_u8_s32(a), 4)); }
HWY_INLINE Bytes Add32(Bytes a, Bytes b) { return vaddq_s32(a, b); }
HWY_INLINE Bytes Mul32(Bytes a, Bytes b) { return vmulq_s32(a, b); }
HWY_INLINE Bytes LookUp16(const uint8_t* table, Bytes at) {
  return vreinterpretq_s32_u8(vqtbl1q_u8(vld1q_u8(table), vreinterpretq_u8_s32(at)));
}
// Four products of bytes below 128 by s8 added to each int32.
HWY_INLINE Bytes AddDots(Bytes sum, Bytes u, Bytes s) {
  return vdotq_s32(sum, vreinterpretq_s8_s32(u), vreinterpretq_s8_s32(s));
}
// Of any bytes u: twice u / 2, and what is left.
HWY_INLINE Bytes AddDotsOfBytes(Bytes sum, Bytes u, Bytes s) {
  const Bytes half = vreinterpretq_s32_u8(vshrq_n_u8(vreinterpretq_u8_s32(u), 1));
  return AddDots(AddDots(AddDots(sum, half, s), half, s), And(u, SetWords(0x01010101)), s);
}
HWY_INLINE Bytes LoadQ8(const std::byte* from) {
  return veorq_s32(LoadBytes(from), vreinterpretq_s32_u8(vdupq_n_u8(0x80)));
}
constexpr int kQ8Offset = 0;
HWY_INLINE Bytes RepeatQ8(const std::byte* from) { return LoadBytes(from); }

#endif
