// Products of int8 rows of one plane with tiles of 4-bit floats: the second half of int8_tiles-inl.h.

// Twice the value of an e2m1 code, plus 12: bytes without a sign, for the instructions that multiply u8 by s8.
#define GANNET_FP4_CODES 12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0

// DotFp4: sum[r][h] += the 32-block's exact product of row r with the 16 weight rows of half h, of values doubled + 12.

#if HWY_TARGET == HWY_AVX3 && GANNET_INT8_VNNI

template <int R, int H>
HWY_INLINE void AddFourFp4(const __m512i (&weights)[H], const int8_t* x, I32x16 (&sum)[R][H]) {
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
    const __m512i four = _mm512_set1_epi32(FourBytes(x + kQuantBlock * r));
#pragma GCC unroll 2
    for (int h = 0; h < H; ++h) {
      __m512i& s = sum[r][h].part[0].raw;
      s = _mm512_dpbusd_epi32(s, weights[h], four);
    }
  }
}

template <int R, int H>
HWY_INLINE void DotFp4(const std::byte* w, const int8_t* x, I32x16 (&sum)[R][H]) {
  const __m512i codes = _mm512_broadcast_i32x4(_mm_setr_epi8(GANNET_FP4_CODES));
  const __m512i nibble = _mm512_set1_epi8(15);
#pragma GCC unroll 4
  for (int g = 0; g < 4; ++g) {
    __m512i first[H];
    __m512i second[H];
#pragma GCC unroll 2
    for (int h = 0; h < H; ++h) {
      const __m512i bytes = _mm512_load_si512(w + 256 * h + 64 * g);
      first[h] = _mm512_shuffle_epi8(codes, _mm512_and_si512(bytes, nibble));
      second[h] = _mm512_shuffle_epi8(codes, _mm512_and_si512(_mm512_srli_epi16(bytes, 4), nibble));
    }
    AddFourFp4(first, x + 4 * g, sum);
    AddFourFp4(second, x + 16 + 4 * g, sum);
  }
}

#elif HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3

// A 16-bit sum holds four pairs, 4 * 2 * 24 * 127 = 24384, twice a block.
#if HWY_TARGET == HWY_AVX3
HWY_INLINE Bytes LookUp(Bytes codes) {
  return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(_mm_setr_epi8(GANNET_FP4_CODES)), codes);
}
#else
HWY_INLINE Bytes LookUp(Bytes codes) {
  return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_setr_epi8(GANNET_FP4_CODES)), codes);
}
#endif

template <int R, int H>
HWY_INLINE void DotFp4(const std::byte* w, const int8_t* x, I32x16 (&sum)[R][H]) {
  const Bytes nibble = SetWords(0x0f0f0f0f);
#pragma GCC unroll 4
  for (int v = 0; v < kParts * H; ++v) {
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      Bytes pairs[R];
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) pairs[r] = SetWords(0);
#pragma GCC unroll 2
      for (int g = 2 * half; g < 2 * half + 2; ++g) {
        const Bytes bytes = LoadBytes(w + 256 * (v / kParts) + 64 * g + 64 / kParts * (v % kParts));
        const Bytes first = LookUp(And(bytes, nibble));
        const Bytes second = LookUp(HighNibbles(bytes, nibble));
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) {
          const int8_t* four = x + kQuantBlock * r + 4 * g;
          pairs[r] = Add16(pairs[r], Pairs(first, SetWords(FourBytes(four))));
          pairs[r] = Add16(pairs[r], Pairs(second, SetWords(FourBytes(four + 16))));
        }
      }
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
        auto& s = sum[r][v / kParts].part[v % kParts].raw;
        s = Add32(s, Widen(pairs[r], 1));
      }
    }
  }
}

#else  // any machine, one half at a time

template <int R, int H>
HWY_INLINE void DotFp4(const std::byte* w, const int8_t* x, I32x16 (&sum)[R][H]) {
  constexpr int32_t kCodes[16] = {GANNET_FP4_CODES};
  for (int r = 0; r < R; ++r, x += kQuantBlock) {
    int32_t total[16];
    for (int p = 0; p < kParts; ++p) hn::StoreU(sum[r][0].part[p], IntTag(), total + p * kLanes);
    for (int g = 0; g < 4; ++g) {
      for (int n = 0; n < 16; ++n) {
        for (int i = 0; i < 4; ++i) {
          const int32_t byte = std::to_integer<int32_t>(w[64 * g + 4 * n + i]);
          total[n] += kCodes[byte & 15] * x[4 * g + i] + kCodes[byte >> 4] * x[16 + 4 * g + i];
        }
      }
    }
    sum[r][0] = LoadInts(total);
  }
}

#endif
#undef GANNET_FP4_CODES

// 2^(bits - 127) of sixteen E8M0 scales. NaN, 255, becomes infinity.
HWY_INLINE F32x16 LoadPowers(const std::byte* from) {
  const I32x16 exponents = LoadUnsigned(from);
  F32x16 out;
  GANNET_EACH_PART {
    const IntVec bits = hn::Max(hn::ShiftLeft<23>(exponents.part[i]), hn::Set(IntTag(), 0x00400000));
    out.part[i] = hn::BitCast(FloatTag(), bits);
  }
  return out;
}

template <int R, int H>
HWY_NOINLINE void Fp4Rows(const std::byte* weights, const std::byte* x, int64_t first, int64_t last, const int half,
                          const int offset, const int rows, float* sums) {
  sums += offset * kTileRows + half * 16;
  x += first * rows * kOnePlaneBytes;
  F32x16 total[R][H];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 2
    for (int h = 0; h < H; ++h) total[r][h] = Load(sums + r * kTileRows + 16 * h);
  }
  for (int64_t b = first; b < last; ++b, x += rows * kOnePlaneBytes) {
    const std::byte* pair = weights + b / 2 * kFp4PairBytes;
    const std::byte* quants = pair + 64 + 512 * (b % 2) + half * 256;
    const int8_t* values = reinterpret_cast<const int8_t*>(x) + offset * kQuantBlock;
    const float* half_scale = reinterpret_cast<const float*>(x + rows * kQuantBlock) + offset;
    const int32_t* neg12 = reinterpret_cast<const int32_t*>(half_scale + rows);
    if (half == 0) {
      for (int64_t line = 0; line < 512; line += 64) __builtin_prefetch(quants + kPrefetchBytes + line);
    }
    I32x16 sum[R][H];
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 2
      for (int h = 0; h < H; ++h) sum[r][h] = BroadcastInt(neg12[r]);
    }
    DotFp4<R, H>(quants, values, sum);
#pragma GCC unroll 2
    for (int h = 0; h < H; ++h) {
      const F32x16 scale_w = LoadPowers(pair + 32 * (b % 2) + 16 * (half + h));
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
        total[r][h] = MulAdd(ToFloat(sum[r][h]), Mul(scale_w, Broadcast(half_scale[r])), total[r][h]);
      }
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 2
    for (int h = 0; h < H; ++h) Store(total[r][h], sums + r * kTileRows + 16 * h);
  }
}

template <int H>
void PassesFp4(const std::byte* weights, const std::byte* x, int64_t first, int64_t last, int rows, float* sums) {
  for (int offset = 0; offset < rows; offset += kMaxRows) {
    for (int half = 0; half < 2; half += H) {
      switch (rows - offset) {
        case 1:
          Fp4Rows<1, H>(weights, x, first, last, half, offset, rows, sums);
          break;
        case 2:
          Fp4Rows<2, H>(weights, x, first, last, half, offset, rows, sums);
          break;
        case 3:
          Fp4Rows<3, H>(weights, x, first, last, half, offset, rows, sums);
          break;
        default:
          Fp4Rows<4, H>(weights, x, first, last, half, offset, rows, sums);
      }
    }
  }
}

// Few rows wait for the weights: one pass over them, whatever it spills. Many rows find them in L1.
void TileFp4(const std::byte* weights, const std::byte* x, int64_t first, int64_t last, int rows, float* sums) {
  return rows < kRowTile ? PassesFp4<kHalvesOfFew>(weights, x, first, last, rows, sums)
                         : PassesFp4<kHalves>(weights, x, first, last, rows, sums);
}
