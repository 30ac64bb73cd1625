// Products of int8 rows of one plane with tiles of 4-bit floats: the second half of int8_tiles-inl.h.

// Twice the value of an e2m1 code, plus 12: bytes without a sign, for the instructions that multiply u8 by s8.
#define GANNET_FP4_CODES 12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0

// DotFp4: sum[r][h] += the exact product of row r with the 16 weight rows of half h, of values doubled + 12: with kTwo
// of the first 16 values of the block, those of the second into `second`; otherwise of all 32.

#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3
HWY_INLINE Bytes LookUp(Bytes codes) { return Shuffle(Repeat16(_mm_setr_epi8(GANNET_FP4_CODES)), codes); }
#elif GANNET_INT8_VNNI
HWY_INLINE Bytes LookUp(Bytes codes) {
  static constexpr uint8_t kCodes[16] = {GANNET_FP4_CODES};
  return LookUp16(kCodes, codes);
}
#endif

#if GANNET_INT8_VNNI

template <bool kTwo, int R, int H>
HWY_INLINE void DotFp4(const std::byte* w, const std::byte* soon, const int8_t* x, I32x16 (&sum)[R][H],
                       I32x16 (&second_sum)[R][H]) {
  // Sixteen registers have room for eight sums.
  constexpr int kVectors = kParts * H;
  constexpr int kOnce = kParts == 1 || R * kVectors <= 8 ? kVectors : kVectors / 2;
  const Bytes nibble = SetWords(0x0f0f0f0f);
#pragma GCC unroll 2
  for (int v = 0; v < kVectors; v += kOnce) {
    const int8_t* const values = kOnce < kVectors ? Anew(x) : x;
#pragma GCC unroll 4
    for (int g = 0; g < 4; ++g) {
      Bytes first[kOnce];
      Bytes second[kOnce];
#pragma GCC unroll 4
      for (int i = 0; i < kOnce; ++i) {
        const Bytes bytes = LoadBytes(QuantsOf(w, 256, v + i, g));
        FetchLine<R>(soon, 256, v + i, g);
        first[i] = LookUp(And(bytes, nibble));
        second[i] = LookUp(HighNibbles(bytes, nibble));
      }
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
        const Bytes four = SetWords(FourBytes(values + kQuantBlock * r + 4 * g));
#pragma GCC unroll 4
        for (int i = 0; i < kOnce; ++i) Raw(sum, r, v + i) = AddDots(Raw(sum, r, v + i), first[i], four);
      }
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
        const Bytes four = SetWords(FourBytes(values + kQuantBlock * r + 16 + 4 * g));
        I32x16(&to)[R][H] = kTwo ? second_sum : sum;
#pragma GCC unroll 4
        for (int i = 0; i < kOnce; ++i) Raw(to, r, v + i) = AddDots(Raw(to, r, v + i), second[i], four);
      }
    }
  }
}

#elif HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3

// A 16-bit sum holds four pairs, 4 * 2 * 24 * 127 = 24384, twice a block.
template <bool kTwo, int R, int H>
HWY_INLINE void DotFp4(const std::byte* w, const std::byte* soon, const int8_t* x, I32x16 (&sum)[R][H],
                       I32x16 (&second_sum)[R][H]) {
  const Bytes nibble = SetWords(0x0f0f0f0f);
#pragma GCC unroll 4
  for (int v = 0; v < kParts * H; ++v) {
    const int8_t* const values = R > 1 ? Anew(x) : x;
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      Bytes pairs[R];
      Bytes second_pairs[R];
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) pairs[r] = second_pairs[r] = SetWords(0);
#pragma GCC unroll 2
      for (int g = 2 * half; g < 2 * half + 2; ++g) {
        const Bytes bytes = LoadBytes(QuantsOf(w, 256, v, g));
        FetchLine<R>(soon, 256, v, g);
        const Bytes first = LookUp(And(bytes, nibble));
        const Bytes second = LookUp(HighNibbles(bytes, nibble));
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) {
          const int8_t* four = values + kQuantBlock * r + 4 * g;
          pairs[r] = Pinned(Add16(pairs[r], Pairs(first, SetWords(FourBytes(four)))));
          Bytes& more = kTwo ? second_pairs[r] : pairs[r];
          more = Pinned(Add16(more, Pairs(second, SetWords(FourBytes(four + 16)))));
        }
      }
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
        auto& s = sum[r][v / kParts].part[v % kParts].raw;
        s = Add32(s, Widen(pairs[r], 1));
        if constexpr (kTwo) {
          auto& t = second_sum[r][v / kParts].part[v % kParts].raw;
          t = Add32(t, Widen(second_pairs[r], 1));
        }
      }
    }
  }
}

#else  // any machine, one half at a time

template <bool kTwo, int R, int H>
HWY_INLINE void DotFp4(const std::byte* w, const std::byte* soon, const int8_t* x, I32x16 (&sum)[R][H],
                       I32x16 (&second_sum)[R][H]) {
  constexpr int32_t kCodes[16] = {GANNET_FP4_CODES};
  for (int r = 0; r < R; ++r, x += kQuantBlock) {
    int32_t total[16];
    int32_t second[16];
    for (int p = 0; p < kParts; ++p) {
      hn::StoreU(sum[r][0].part[p], IntTag(), total + p * kLanes);
      hn::StoreU(second_sum[r][0].part[p], IntTag(), second + p * kLanes);
    }
    for (int g = 0; g < 4; ++g) {
      FetchLine<R>(soon, 256, 0, g);
      for (int n = 0; n < 16; ++n) {
        for (int i = 0; i < 4; ++i) {
          const int32_t byte = std::to_integer<int32_t>(w[64 * g + 4 * n + i]);
          total[n] += kCodes[byte & 15] * x[4 * g + i];
          (kTwo ? second : total)[n] += kCodes[byte >> 4] * x[16 + 4 * g + i];
        }
      }
    }
    sum[r][0] = LoadInts(total);
    if (kTwo) second_sum[r][0] = LoadInts(second);
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

// The scales of the 16 rows of half `half` in the first or second half of block `b`; of kFp4 both have one.
template <TileKind kKind>
HWY_INLINE F32x16 ScaleOfFp4(const std::byte* tile, int64_t b, int half, int second) {
  if constexpr (kKind == TileKind::kFp4) return LoadPowers(tile + b / 2 * kFp4PairBytes + 32 * (b % 2) + 16 * half);
  return Load(reinterpret_cast<const E4M3*>(tile + BlockOffset(kKind, b)) + 32 * second + 16 * half);
}

template <TileKind kKind, bool kNormal, int R, int H>
HWY_NOINLINE void Fp4Rows(const std::byte* weights, const std::byte* x, int64_t first, int64_t last, const int half,
                          const int offset, const int rows, Ahead ahead, float* sums) {
  constexpr bool kTwo = kKind == TileKind::kNvFp4;
  sums += offset * kTileRows + half * 16;
  x += first * rows * kOnePlaneBytes;
  F32x16 total[R][H];
  LoadSums(sums, total);
  for (int64_t b = first; b < last; ++b, x += rows * kOnePlaneBytes) {
    const std::byte* block = kTwo ? weights + BlockOffset(kKind, b) : weights + b / 2 * kFp4PairBytes + 512 * (b % 2);
    const std::byte* quants = block + 64 + half * 256;
    const int8_t* values = reinterpret_cast<const int8_t*>(x) + offset * kQuantBlock;
    const float* half_scale = reinterpret_cast<const float*>(x + rows * kQuantBlock) + offset;
    const int32_t* neg12 = reinterpret_cast<const int32_t*>(half_scale + rows);
    if constexpr (LineByLine(R)) {
      if (half == 0 && (kTwo || b % 2 == 0)) __builtin_prefetch(ahead.Soon(quants) - kLine);  // the scales
    } else if (half == 0) {
      ahead.Fetch<kTwo ? 576 : 512>(quants);
    }
    I32x16 sum[R][H];
    I32x16 second[R][H];
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 2
      for (int h = 0; h < H; ++h) {
        sum[r][h] = BroadcastInt(neg12[kTwo ? rows + r : r]);
        if constexpr (kTwo) second[r][h] = BroadcastInt(neg12[r] - neg12[rows + r]);
      }
    }
    DotFp4<kTwo, R, H>(quants, ahead.Soon(quants), values, sum, kTwo ? second : sum);
#pragma GCC unroll 2
    for (int h = 0; h < H; ++h) {
      AddSums<kNormal>(sum, h, ScaleOfFp4<kKind>(weights, b, half + h, 0), half_scale, total);
      if constexpr (kTwo) AddSums<false>(second, h, ScaleOfFp4<kKind>(weights, b, half + h, 1), half_scale, total);
    }
  }
  StoreSums(total, sums);
}

// Rows [offset, rows) of row tile `tile`, R or fewer.
template <TileKind kKind, bool kNormal, int R, int H>
HWY_INLINE void LastRowsFp4(const std::byte* weights, const RowTiles& x, int64_t tile, int offset, int half,
                            const Stretch& stretch, const Ahead& ahead, float* sums) {
  const int rows = x.rows_in(tile);
  if (rows - offset >= R) {
    return Fp4Rows<kKind, kNormal, R, H>(weights, x.at(tile) + kOnePlaneHeader, stretch.first, stretch.last, half,
                                         offset, rows, ahead, sums);
  }
  if constexpr (R > 1) LastRowsFp4<kKind, kNormal, R - 1, H>(weights, x, tile, offset, half, stretch, ahead, sums);
}

template <TileKind kKind, bool kNormal, int H>
void PassesFp4(const std::byte* weights, const RowTiles& x, int64_t tile, const Stretch& stretch, float* sums) {
  constexpr int kMost = kNormal ? kRowTile : kMaxRows;
  const int rows = x.rows_in(tile);
  for (int offset = 0; offset < rows; offset += kMost) {
    const Ahead ahead = stretch.During(tile * x.tile_rows + offset, std::min(kMost, rows - offset));
    for (int half = 0; half < 2; half += H) {
      LastRowsFp4<kKind, kNormal, kMost, H>(weights, x, tile, offset, half, stretch, ahead, sums);
    }
  }
}

// Few rows wait for the weights: one pass over them, whatever it spills. Many rows find them in L1.
void RowTileFp4(TileKind kind, const std::byte* weights, const RowTiles& x, int64_t tile, [[maybe_unused]] bool normal,
                const Stretch& stretch, float* sums) {
  const int rows = x.rows_in(tile);
  const bool few = rows < kRowTile;
  if (kind == TileKind::kNvFp4) {
    return few ? PassesFp4<TileKind::kNvFp4, false, kHalvesOfFew>(weights, x, tile, stretch, sums)
               : PassesFp4<TileKind::kNvFp4, false, kHalves>(weights, x, tile, stretch, sums);
  }
#if HWY_TARGET == HWY_AVX3 && GANNET_INT8_VNNI
  // Two and three rows wait for memory, and were 3 to 9 % slower this way; so was AVX2 with any rows.
  const bool waits = rows == 2 || rows == 3;
  if (normal && !waits) return PassesFp4<TileKind::kFp4, true, kHalves>(weights, x, tile, stretch, sums);
#endif
  few ? PassesFp4<TileKind::kFp4, false, kHalvesOfFew>(weights, x, tile, stretch, sums)
      : PassesFp4<TileKind::kFp4, false, kHalves>(weights, x, tile, stretch, sums);
}

void TilesFp4(TileKind kind, const std::byte* weights, const ScaleRange& scales, const RowTiles& x, int64_t blocks,
              float* sums) {
  ForStretches(kind, weights, x, blocks, kRowTile, [&](const Stretch& stretch, int64_t i) {
    const bool normal = ProductsAreNormal(scales, *reinterpret_cast<const ScaleRange*>(x.at(i)));
    RowTileFp4(kind, weights, x, i, normal, stretch, sums + i * x.tile_rows * kTileRows);
  });
}
