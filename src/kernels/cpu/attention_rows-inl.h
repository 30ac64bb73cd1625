// Scores of attention_int8-inl.h, with VNNI or SDOT, from keys where they lie. Included there.

// A vector holds sixteen dims of kLinesOfVector queries, or of one token's key as often.
constexpr int kTokensOfRound = 4;
// Vectors of queries whose sums registers hold at once.
constexpr int kVectorsOfRound = GANNET_INT8_VNNI == GANNET_VNNI_256_VEX ? 2 : 5;

// scores[vector][token / 4][kLanes], as SoftenVectors takes them, of N vectors of queries, `x_stride` apart, and
// `tokens` keys, a multiple of kTokensOfRound, with scales [part][kInt8StepTokens]. On the way a line of `ahead` is
// fetched for each 16 dims of a round.
template <int N>
void ScoreRows(const std::array<KeyPart, 2>& parts, const std::byte* keys, int64_t key_stride, int64_t tokens,
               const float* key_scales, const std::byte* x, const std::byte* query_scales, int64_t x_stride,
               const std::byte* ahead, ValuesToTurn& turned, float* scores) {
  const hn::RepartitionToWide<IntTag> pairs;
  const FloatTag f;
  const auto added = [&](Bytes a, Bytes b) HWY_ATTR {  // a0 + a2, b0 + b2, a1 + a3, b1 + b3 of each block
    return hn::BitCast(pairs, hn::Add(hn::InterleaveLower(IntTag(), IntVec{a}, IntVec{b}),
                                      hn::InterleaveUpper(IntTag(), IntVec{a}, IntVec{b})));
  };
  const int64_t ends[2] = {RoundUp16(parts[0].dims), parts[1].place + RoundUp16(parts[1].dims)};
  for (; tokens > 0;
       tokens -= kTokensOfRound, keys += kTokensOfRound * key_stride, key_scales += kTokensOfRound, scores += kLanes) {
    turned.Four();
    const std::byte* queries = x;
    int64_t d = 0;
    const auto add_part = [&](auto part) HWY_ATTR {
      Bytes sum[kTokensOfRound][N];
#pragma GCC unroll 4
      for (int t = 0; t < kTokensOfRound; ++t) {
#pragma GCC unroll 5
        for (int n = 0; n < N; ++n) sum[t][n] = SetWords(0);
      }
      for (; d < ends[part]; d += 16, ahead += 64, queries += sizeof(Bytes)) {
        __builtin_prefetch(ahead, 0, 2);
        Bytes key[kTokensOfRound];
#pragma GCC unroll 4
        for (int t = 0; t < kTokensOfRound; ++t) key[t] = RepeatQ8(keys + t * key_stride + d);
#pragma GCC unroll 5
        for (int n = 0; n < N; ++n) {
          const Bytes of_vector = LoadBytes(queries + n * x_stride);
#pragma GCC unroll 4
          for (int t = 0; t < kTokensOfRound; ++t) sum[t][n] = Pinned(AddDots(sum[t][n], key[t], of_vector));
        }
      }
      const FloatVec of_keys = hn::LoadDup128(f, key_scales + part * kInt8StepTokens);
#pragma GCC unroll 5
      for (int n = 0; n < N; ++n) {
        const auto first = added(sum[0][n], sum[1][n]);
        const auto second = added(sum[2][n], sum[3][n]);
        const IntVec all = hn::Add(hn::BitCast(IntTag(), hn::InterleaveLower(pairs, first, second)),
                                   hn::BitCast(IntTag(), hn::InterleaveUpper(pairs, first, second)));
        // A block of each query's two QueryScale.
        const IntVec of_queries = IntVec{LoadBytes(query_scales + n * x_stride)};
        const FloatVec exact = hn::ConvertTo(f, hn::Add(all, hn::Broadcast<2 * part + 1>(of_queries)));
        const FloatVec unit = hn::Mul(of_keys, hn::BitCast(f, hn::Broadcast<2 * part>(of_queries)));
        float* const out = scores + n * kQuadsOfStep * kLanes;
        hn::StoreU(part == 0 ? hn::Mul(exact, unit) : hn::MulAdd(exact, unit, hn::LoadU(f, out)), f, out);
      }
    };
    add_part(std::integral_constant<int, 0>());
    if (parts[1].dims != 0) add_part(std::integral_constant<int, 1>());
  }
}

// Of any number of vectors, as many together as registers allow, or nearly.
HWY_NOINLINE void ScoresOfRows(const KvLayout& layout, const std::byte* keys, int64_t tokens, const float* key_scales,
                               const std::byte* x, const std::byte* query_scales, int64_t x_stride, int64_t vectors,
                               Ahead& ahead, ValuesToTurn& turned, float* scores) {
  constexpr auto kOfVectors = []<size_t... N>(std::index_sequence<N...>) {
    return std::array{ScoreRows<static_cast<int>(N) + 1>...};
  }
  (std::make_index_sequence<kVectorsOfRound>());
  const int64_t stride = PaddedKeyDim(layout);
  InRounds<kVectorsOfRound>(vectors, [&](int64_t vector, int64_t count) {
    const std::byte* const fetched = ahead.Take(tokens / kTokensOfRound * (stride / 16), keys);
    kOfVectors[static_cast<size_t>(count - 1)](KeyParts(layout), keys, stride, tokens, key_scales,
                                               x + vector * x_stride, query_scales + vector * x_stride, x_stride,
                                               fetched, turned, scores + vector * kQuadsOfStep * kLanes);
  });
}

// Of a step: the lines' factors, as SoftenLines makes them.
void FactorsOfRows(const KvLayout& layout, const std::byte* queries, int64_t line, const Int8Blocks& blocks,
                   const float* scales, KeySpan seen, Ahead& ahead, ValuesToTurn& turned,
                   std::span<LineOfStep> of_lines, int64_t before, uint8_t* factors) {
  alignas(64) float scores[(kLinesAtOnce + kLinesOfVector) * kInt8StepTokens];
  const int64_t stride = PaddedKeyDim(layout);
  const int64_t vectors = (before + std::ssize(of_lines) + kLinesOfVector - 1) / kLinesOfVector;
  const std::byte* const x = QueriesWith(layout, queries, line);
  const auto* const query_scales = reinterpret_cast<const std::byte*>(ScalesOf(layout, queries, line - before));
  const int64_t x_stride = kLinesOfVector * Int8QueryBytes(layout);
  const int64_t last = (seen.end + 15) / 16 * 16;
  for (int64_t from = seen.begin / 16 * 16, to; from < last; from = to) {
    const int64_t block = from / kBlockTokens;
    to = std::min(last, (block + 1) * kBlockTokens);
    const std::byte* const rows = blocks[static_cast<size_t>(block)] + from % kBlockTokens * stride;
    ScoresOfRows(layout, rows, to - from, scales + from, x, query_scales, x_stride, vectors, ahead, turned,
                 scores + from / 4 * kLanes);
  }
  const bool whole = seen.end - seen.begin == kInt8StepTokens;
  const auto soften = whole ? SoftenVectors<true, kLinesAtOnce> : SoftenVectors<false, kLinesAtOnce>;
  soften(of_lines, before, seen, scales + ValueScale(layout) * kInt8StepTokens, scores, factors);
}
