// Scores of attention_int8-inl.h, with VNNI or SDOT, from keys where they lie. Included there.

// A vector holds sixteen dims of so many queries, or of one token's key as often.
constexpr int kQueriesOfVector = sizeof(Bytes) / 16;
constexpr int kTokensOfRound = 4;
// Vectors of queries whose sums registers hold at once.
constexpr int kVectorsOfRound = GANNET_INT8_VNNI == GANNET_VNNI_256_VEX ? 2 : 5;

template <class Vector>
HWY_INLINE void StoreBlocks(Vector v, int32_t* out, int64_t stride) {
  const hn::DFromV<Vector> tag;
  if constexpr (hn::MaxLanes(tag) == 4) {
    hn::StoreU(v, tag, out);
  } else {
    const hn::Half<decltype(tag)> half;
    StoreBlocks(hn::LowerHalf(half, v), out, stride);
    StoreBlocks(hn::UpperHalf(half, v), out + static_cast<int64_t>(hn::MaxLanes(tag)) / 8 * stride, stride);
  }
}

// sums[query][token] of N vectors of queries, `x_stride` apart, and `tokens` keys, a multiple of kTokensOfRound: exact
// sums over `dims`, a multiple of 16, of query and key + kKeyOffset. On the way a line of `ahead` is fetched for each
// 16 dims of a round.
template <int N>
void SumRows(const std::byte* keys, int64_t key_stride, int64_t tokens, int64_t dims, const std::byte* x,
             int64_t x_stride, const std::byte* ahead, ValuesToTurn& turned, int32_t* sums) {
  const hn::CappedTag<int32_t, sizeof(Bytes) / sizeof(int32_t)> words;
  const hn::RepartitionToWide<decltype(words)> pairs;
  using Words = hn::Vec<decltype(words)>;
  const auto added = [&](Bytes a, Bytes b) HWY_ATTR {  // a0 + a2, b0 + b2, a1 + a3, b1 + b3 of each block
    return hn::BitCast(
        pairs, hn::Add(hn::InterleaveLower(words, Words{a}, Words{b}), hn::InterleaveUpper(words, Words{a}, Words{b})));
  };
  for (; tokens > 0; tokens -= kTokensOfRound, keys += kTokensOfRound * key_stride, sums += kTokensOfRound) {
    turned.Four();
    Bytes sum[kTokensOfRound][N];
#pragma GCC unroll 4
    for (int t = 0; t < kTokensOfRound; ++t) {
#pragma GCC unroll 5
      for (int n = 0; n < N; ++n) sum[t][n] = SetWords(0);
    }
    const std::byte* queries = x;
    for (int64_t d = 0; d < dims; d += 16, ahead += 64, queries += sizeof(Bytes)) {
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
#pragma GCC unroll 5
    for (int n = 0; n < N; ++n) {
      const auto first = added(sum[0][n], sum[1][n]);
      const auto second = added(sum[2][n], sum[3][n]);
      const Words all = hn::Add(hn::BitCast(words, hn::InterleaveLower(pairs, first, second)),
                                hn::BitCast(words, hn::InterleaveUpper(pairs, first, second)));
      StoreBlocks(all, sums + n * kQueriesOfVector * kInt8StepTokens, kInt8StepTokens);
    }
  }
}

// Of any number of vectors, as many together as registers allow, or nearly.
HWY_NOINLINE void SumsOfRows(const std::byte* keys, int64_t key_stride, int64_t tokens, int64_t dims,
                             const std::byte* x, int64_t x_stride, int64_t vectors, Ahead& ahead, ValuesToTurn& turned,
                             int32_t* sums) {
  constexpr auto kOfVectors = []<size_t... N>(std::index_sequence<N...>) {
    return std::array{SumRows<static_cast<int>(N) + 1>...};
  }
  (std::make_index_sequence<kVectorsOfRound>());
  InRounds<kVectorsOfRound>(vectors, [&](int64_t vector, int64_t count) {
    const std::byte* const fetched = ahead.Take(tokens / kTokensOfRound * (dims / 16), keys);
    kOfVectors[static_cast<size_t>(count - 1)](keys, key_stride, tokens, dims, x + vector * x_stride, x_stride, fetched,
                                               turned, sums + vector * kQueriesOfVector * kInt8StepTokens);
  });
}
