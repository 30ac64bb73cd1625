// Sums of attention_int8-inl.h in the tile registers of AMX: scores from keys where they lie, values from tiles.
// Included there.

// Query `line`'s factors of dims 0..3 lie among sixteen's.
template <class Vector>
HWY_INLINE void StoreInTile(const KvLayout& layout, Vector factors, std::byte* queries, int64_t line, int64_t place) {
  int8_t values[16];
  hn::StoreU(factors, hn::DFromV<Vector>(), values);
  std::byte* const to = QueriesWith(layout, queries, line) + 16 * place + 4 * (line % kQueriesTogether);
  for (int64_t quad = 0; quad < 4; ++quad) __builtin_memcpy(to + 64 * quad, values + 4 * quad, 4);
}

// out[column][row] = in[row][column] for columns [first, last) of sixteen.
HWY_INLINE void Turn(const int32_t* in, int64_t first, int64_t last, int32_t* out, int64_t out_stride) {
  __m512i row[16];
  __m512i next[16];
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) row[i] = _mm512_load_si512(in + 16 * i);
#pragma GCC unroll 8
  for (int i = 0; i < 16; i += 2) {
    next[i] = _mm512_unpacklo_epi32(row[i], row[i + 1]);
    next[i + 1] = _mm512_unpackhi_epi32(row[i], row[i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) {  // row[i + c] has columns c, c + 4, c + 8, c + 12 of rows i .. i + 3
    row[i] = _mm512_unpacklo_epi64(next[i], next[i + 2]);
    row[i + 1] = _mm512_unpackhi_epi64(next[i], next[i + 2]);
    row[i + 2] = _mm512_unpacklo_epi64(next[i + 1], next[i + 3]);
    row[i + 3] = _mm512_unpackhi_epi64(next[i + 1], next[i + 3]);
  }
#pragma GCC unroll 4
  for (int c = 0; c < 4; ++c) {
    const __m512i low01 = _mm512_shuffle_i32x4(row[c], row[4 + c], 0x88);
    const __m512i high01 = _mm512_shuffle_i32x4(row[c], row[4 + c], 0xdd);
    const __m512i low23 = _mm512_shuffle_i32x4(row[8 + c], row[12 + c], 0x88);
    const __m512i high23 = _mm512_shuffle_i32x4(row[8 + c], row[12 + c], 0xdd);
    next[c] = _mm512_shuffle_i32x4(low01, low23, 0x88);
    next[8 + c] = _mm512_shuffle_i32x4(low01, low23, 0xdd);
    next[4 + c] = _mm512_shuffle_i32x4(high01, high23, 0x88);
    next[12 + c] = _mm512_shuffle_i32x4(high01, high23, 0xdd);
  }
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) {
    if (i >= first && i < last) _mm512_storeu_si512(out + i * out_stride, next[i]);
  }
}

// Turn of columns [0, 4).
HWY_INLINE void TurnFour(const int32_t* in, int64_t first, int64_t last, int32_t* out, int64_t out_stride) {
  const hn::Repartition<uint32_t, BytesOf<4>> words;
  hn::Vec<decltype(words)> rows[4];  // i, 4 + i, 8 + i, 12 + i
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const auto* const from = reinterpret_cast<const uint8_t*>(in + 16 * i);
    rows[i] = hn::BitCast(words, LoadBlocks<4>(from, 4 * 16 * sizeof(int32_t)));
  }
  TurnInBlocks(words, rows, [&](int i, auto column) HWY_ATTR {
    if (i >= first && i < last) _mm512_storeu_si512(out + i * out_stride, column.raw);
  });
}

// Registers, of 16 rows by 64 bytes each. Keys: sums of two sixteens of queries (0 and 2, 1 and 3) by two groups of 16
// tokens, the tokens (4, 5), the queries (6, 7). Values: the factors of two sixteens of lines in the first block (0, 1)
// and in the second (2, 3), the lines' sums (4, 5), 16 dims of each block (6, 7).
inline TileShapes ShapesOfStep() {
  TileShapes shapes;
  for (int i = 0; i < 8; ++i) shapes.Set(i, 16, 64);
  return shapes;
}

HWY_INLINE const std::byte* RowOf(const Int8Blocks& blocks, int64_t token, int64_t stride) {
  return blocks[static_cast<size_t>(token / kBlockTokens)] + token % kBlockTokens * stride;
}

// sums[line][token] of tokens [first, last), multiples of 16. Each round fetches `lines_ahead`.
HWY_NOINLINE void KeysOfTiles(const KvLayout& layout, const KeyPart& part, const Int8Blocks& blocks,
                              const std::byte* queries, int64_t line, int64_t lines, int64_t first, int64_t last,
                              Ahead& ahead, int64_t lines_ahead, int32_t* sums) {
  const int64_t stride = PaddedKeyDim(layout);
  const int64_t dims = RoundUp16(part.dims);
  const int64_t end = line + lines;
  alignas(64) int32_t turned[4][16 * 16];
  for (int64_t tile = line / kQueriesTogether; tile * kQueriesTogether < end; tile += 2) {
    const std::byte* const x = QueriesWith(layout, queries, tile * kQueriesTogether) + 16 * part.place;
    const bool two = (tile + 1) * kQueriesTogether < end;
    const std::byte* const more = two ? x + kQueriesTogether * Int8QueryBytes(layout) : x;
    for (int64_t token = first; token < last; token += 32) {
      const std::byte* const row = RowOf(blocks, token, stride) + part.place;
      const std::byte* const next = token + 16 < last ? RowOf(blocks, token + 16, stride) + part.place : row;
      ZeroTile<0>();
      ZeroTile<1>();
      ZeroTile<2>();
      ZeroTile<3>();
      for (int64_t d = 0; d < dims; d += 64) {
        ahead.Fetch(lines_ahead);
        LoadTile<6>(x + 16 * d, 64);
        LoadTile<4>(row + d, stride);
        AddInt8Products<0, 4, 6>();
        LoadTile<5>(next + d, stride);
        AddInt8Products<2, 5, 6>();
        if (!two) continue;
        LoadTile<7>(more + 16 * d, 64);
        AddInt8Products<1, 4, 7>();
        AddInt8Products<3, 5, 7>();
      }
      StoreTile<0>(turned[0], 64);
      StoreTile<2>(turned[2], 64);
      StoreTile<1>(turned[1], 64);
      StoreTile<3>(turned[3], 64);
      for (int64_t t = 0; t < 2; ++t) {
        const int64_t base = (tile + t) * kQueriesTogether;
        const int64_t from = std::max<int64_t>(line - base, 0);
        const int64_t to = std::min(end - base, kQueriesTogether);
        int32_t* const out = sums + (base - line) * kInt8StepTokens + token;
        if (to <= 0) break;
        const auto turn = to <= 4 ? TurnFour : Turn;
        turn(turned[t], from, to, out, kInt8StepTokens);
        if (token + 16 < last) turn(turned[2 + t], from, to, out + 16, kInt8StepTokens);
      }
    }
  }
}

// 16 dims of four tokens' values, whose rows are `stride` bytes apart, to [16 dims][4 tokens].
HWY_INLINE void TurnValues(const std::byte* rows, int64_t stride, std::byte* to) {
  const __m512i quads = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  const __m512i bytes = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
  const __m512i four = LoadBlocks<4>(reinterpret_cast<const uint8_t*>(rows), stride).raw;
  _mm512_store_si512(to, _mm512_shuffle_epi8(_mm512_permutexvar_epi32(quads, four), bytes));
}

// The lines' states take the values of tokens [first, last); factors of tokens that no line sees are zero. Of kDims at
// a time: while tile registers multiply them, the next are turned, unless kMore finds them, and the sums of those
// before go into the states. In `tiles` lie [kDims / 16][kInt8StepTokens / 4][16 dims][4 tokens] of each round, of kAll
// only the last two.
HWY_NOINLINE void ValuesOfTiles(const KvLayout& layout, const Int8Blocks& blocks, const Factor* factors, int64_t first,
                                int64_t last, std::byte* tiles, LinesOfStep which, std::span<const LineOfStep> of_lines,
                                Ahead& ahead) {
  constexpr int64_t kDims = 32;
  constexpr int64_t kGroups = kDims / 16;
  constexpr int64_t kGroupBytes = 16 * kInt8StepTokens;
  constexpr int64_t kWorks = 4;  // of vectors, to each round
  const int64_t stride = PaddedKeyDim(layout);
  const int64_t rounds = PaddedValueDim(layout) / kDims;
  const int64_t lines = std::ssize(of_lines);
  const bool two = lines > 16;
  alignas(64) int32_t sums[2][kLinesAtOnce * kDims];
  const auto tiles_of = [&](int64_t round) {
    return tiles + (which == LinesOfStep::kAll ? round % 2 : round) * kGroups * kGroupBytes;
  };
  const auto turn = [&](int64_t round, int64_t work) HWY_ATTR {
    if (which == LinesOfStep::kMore || round == rounds) return;
    const int64_t count = (last - first) / kWorks;
    int64_t token = first + count * work;
    std::byte* to = tiles_of(round) + 16 * token;
    const std::byte* soon = ahead.Take(count / 4, tiles);
    for (const int64_t end = token + count; token < end;) {
      const std::byte* rows = RowOf(blocks, token, stride) + kDims * round;
      const int64_t stop = std::min(end, (token / kBlockTokens + 1) * kBlockTokens);
      for (; token < stop; token += 4, rows += 4 * stride, to += 64, soon += 64) {
        __builtin_prefetch(soon, 0, 2);
#pragma GCC unroll 2
        for (int64_t g = 0; g < kGroups; ++g) TurnValues(rows + 16 * g, stride, to + kGroupBytes * g);
      }
    }
  };
  const auto add = [&](int64_t round, int64_t work) HWY_ATTR {
    if (round < 0) return;
    const int64_t end = lines * (work + 1) / kWorks;
    for (int64_t r = lines * work / kWorks; r < end; ++r) {
      const AddToState to(of_lines[static_cast<size_t>(r)], kDims * round);
      const int32_t* const from = sums[round % 2] + r * kDims;
#pragma GCC unroll 2
      for (int g = 0; g < kGroups; ++g) to.Add(hn::LoadU(IntTag(), from + 16 * g), g);
    }
  };
  LoadTile<0>(factors, kInt8StepTokens);
  LoadTile<1>(factors + 16 * kInt8StepTokens, kInt8StepTokens);
  LoadTile<2>(factors + kBlockTokens, kInt8StepTokens);
  LoadTile<3>(factors + 16 * kInt8StepTokens + kBlockTokens, kInt8StepTokens);
  for (int64_t work = 0; work < kWorks; ++work) turn(0, work);
  for (int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 2
    for (int64_t g = 0; g < kGroups; ++g) {
      const std::byte* const dims = tiles_of(round) + g * kGroupBytes;
      int32_t* const to = sums[round % 2] + 16 * g;
      ZeroTile<4>();
      ZeroTile<5>();
      if (first < kBlockTokens) {
        LoadTile<6>(dims, 64);
        AddUnsignedBySigned<4, 0, 6>();
        if (two) AddUnsignedBySigned<5, 1, 6>();
      }
      if (last > kBlockTokens) {
        LoadTile<7>(dims + 16 * kBlockTokens, 64);
        AddUnsignedBySigned<4, 2, 7>();
        if (two) AddUnsignedBySigned<5, 3, 7>();
      }
      turn(round + 1, 2 * g);
      add(round - 1, 2 * g);
      turn(round + 1, 2 * g + 1);
      StoreTile<4>(to, kDims * sizeof(int32_t));  // not sooner, while products are on their way, nor later
      if (two) StoreTile<5>(to + 16 * kDims, kDims * sizeof(int32_t));
      add(round - 1, 2 * g + 1);
    }
  }
  for (int64_t work = 0; work < kWorks; ++work) add(rounds - 1, work);
}
