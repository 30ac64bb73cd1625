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
// tokens, the tokens (4, 5), the queries (6, 7). Values: sums of two sixteens of lines (0 and 2, 1 and 3) of two groups
// of 16 dims in turn, the lines' factors (4, 5), the dims (6, 7).
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

// kDimsAtOnce of the values of tokens [first, last) from dim d, whose rows are `stride` bytes apart, to
// [4][kInt8StepTokens / 4][16 dims][4 tokens].
HWY_INLINE void TurnValues(const Int8Blocks& blocks, int64_t d, int64_t stride, int64_t first, int64_t last,
                           std::byte* tile) {
  const __m512i quads = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  const __m512i bytes = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
  for (int64_t token = first; token < last; token += 4) {
    const std::byte* const rows = RowOf(blocks, token, stride) + d;
#pragma GCC unroll 4
    for (int64_t g = 0; g < 4; ++g) {
      const __m512i four = LoadBlocks<4>(reinterpret_cast<const uint8_t*>(rows + 16 * g), stride).raw;
      _mm512_store_si512(tile + 16 * (kInt8StepTokens * g + token),
                         _mm512_shuffle_epi8(_mm512_permutexvar_epi32(quads, four), bytes));
    }
  }
}

template <int kSet>
HWY_INLINE void MultiplyDims(const std::byte* dims, bool two) {
  LoadTile<6 + kSet>(dims, 64);
  AddUnsignedBySigned<kSet, 4, 6 + kSet>();
  if (two) AddUnsignedBySigned<2 + kSet, 5, 6 + kSet>();
}
template <int kSet>
HWY_INLINE void SaveDims(bool two, int32_t* sums) {
  constexpr int64_t kStride = kDimsAtOnce * sizeof(int32_t);
  StoreTile<kSet>(sums, kStride);
  if (two) StoreTile<2 + kSet>(sums + 16 * kDimsAtOnce, kStride);
}

// sums[line][dim] of four groups of 16 dims for two sixteens of lines over the blocks of tokens [first, last); factors
// of tokens that no line sees are zero.
HWY_NOINLINE void ValuesOfTiles(const std::byte* dims, const Factor* factors, bool two, int64_t first, int64_t last,
                                int32_t* sums) {
  constexpr int64_t kGroupBytes = 16 * kInt8StepTokens;
  for (int64_t group = 0; group < 4; group += 2, dims += 2 * kGroupBytes, sums += 32) {
    ZeroTile<0>();
    ZeroTile<1>();
    ZeroTile<2>();
    ZeroTile<3>();
    for (int64_t token = first / kBlockTokens * kBlockTokens; token < last; token += kBlockTokens) {
      LoadTile<4>(factors + token, kInt8StepTokens);
      if (two) LoadTile<5>(factors + 16 * kInt8StepTokens + token, kInt8StepTokens);
      MultiplyDims<0>(dims + 16 * token, two);
      MultiplyDims<1>(dims + kGroupBytes + 16 * token, two);
    }
    SaveDims<0>(two, sums);
    SaveDims<1>(two, sums + 16);
  }
}
