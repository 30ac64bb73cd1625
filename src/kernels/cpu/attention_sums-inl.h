// Exact sums of attention_int8-inl.h, from keys and values that were turned. Included there.

// Where exact sums of a step's lines go: of keys they are kept, [line][kInt8StepTokens],
struct SumsOfKeys {
  static constexpr bool kKeys = true;
  int32_t* sums;
  HWY_INLINE SumsOfKeys From(int64_t line, int64_t group) const { return {sums + line * kInt8StepTokens + 16 * group}; }
  HWY_INLINE auto OfLine(int r) const {
    return [to = sums + r * kInt8StepTokens](IntVec sum, int vector)
               HWY_ATTR { hn::StoreU(sum, IntTag(), to + kLanes * vector); };
  }
};
// of values they are added to the lines' states.
struct SumsOfValues {
  static constexpr bool kKeys = false;
  const LineOfStep* lines;
  int64_t dim;
  HWY_INLINE SumsOfValues From(int64_t line, int64_t group) const { return {lines + line, dim + 16 * group}; }
  HWY_INLINE auto OfLine(int r) const {
    return [to = AddToState(lines[r], dim)](IntVec sum, int vector) HWY_ATTR { to.Add(sum, vector); };
  }
};

// The exact sum over k of x[r][k] * tile[g][k / 4][n][k % 4], for R lines and G groups, over quads [first, last),
// multiples of 4, of the `quads` of a group. On the way a line of `ahead` is fetched for each quad, and with VNNI or
// SDOT, of values, four tokens are `turned` for every fourth.
template <int R, int G, class Out>
HWY_INLINE void SumGroups(const std::byte* tile, int64_t quads, int64_t first, int64_t last, const Factor* x,
                          int64_t x_stride, [[maybe_unused]] const std::byte* ahead,
                          [[maybe_unused]] ValuesToTurn& turned, const Out& out) {
#if GANNET_INT8_VNNI
  constexpr bool kKeys = Out::kKeys;
  constexpr int kVectors = kParts * G;
  Bytes sum[R][kVectors];
#pragma GCC unroll 10
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) sum[r][v] = SetWords(0);
  }
  for (int64_t q = first; q < last; ++q, ahead += 64) {
    if (!kKeys && q % 4 == 0) turned.Four();
    __builtin_prefetch(ahead, 0, 2);
    Bytes four[kVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      four[v] = LoadBytes(tile + 64 * (v / kParts * quads + q) + 64 / kParts * (v % kParts));
    }
#pragma GCC unroll 10
    for (int r = 0; r < R; ++r) {
      const Bytes factors = SetWords(FourBytes(x + r * (kKeys ? x_stride : kInt8StepTokens) + 4 * q));
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
        Bytes& s = sum[r][v];
        s = Pinned(kKeys ? AddDots(s, four[v], factors) : AddDotsOfBytes(s, factors, four[v]));
      }
    }
  }
#pragma GCC unroll 10
  for (int r = 0; r < R; ++r) {
    const auto to = out.OfLine(r);
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) to(IntVec{sum[r][v]}, v);
  }
#elif HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3
  for (int part = 0; part < kParts * G; ++part) {
    const std::byte* from = tile + 64 * (part / kParts) * quads + 64 / kParts * (part % kParts);
    Bytes pairs[R][2];
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) pairs[r][0] = pairs[r][1] = SetWords(0);
    for (int64_t q = first; q < last; q += 4) {
#pragma GCC unroll 4
      for (int64_t i = q; i < q + 4; ++i) {
        const Bytes four[2] = {WidenSigned(from + 64 * i), WidenSigned(from + 64 * i + 32 / kParts)};
#pragma GCC unroll 4
        for (int r = 0; r < R; ++r) {
          const Bytes factors = FourShorts(x + r * x_stride + 4 * i);
          pairs[r][0] = Add32(pairs[r][0], Madd(four[0], factors));
          pairs[r][1] = Add32(pairs[r][1], Madd(four[1], factors));
        }
      }
    }
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
      out.OfLine(r)(IntVec{AddNeighbours(pairs[r][0], pairs[r][1])}, part);
    }
  }
#else
  alignas(64) int32_t sums[16 * G];
  for (int r = 0; r < R; ++r) {
    for (int n = 0; n < 16 * G; ++n) {
      sums[n] = 0;
      for (int64_t q = first; q < last; ++q) {
        const std::byte* four = tile + 64 * (n / 16 * quads + q) + 4 * (n % 16);
        for (int i = 0; i < 4; ++i) sums[n] += x[r * x_stride + 4 * q + i] * std::to_integer<int8_t>(four[i]);
      }
    }
    const auto to = out.OfLine(r);
    for (int v = 0; v < kParts * G; ++v) to(hn::LoadU(IntTag(), sums + kLanes * v), v);
  }
#endif
}

// The same of `groups` groups and R lines.
template <int R, class Out>
void SumsOf(const std::byte* tile, int64_t groups, int64_t quads, int64_t first, int64_t last, const Factor* x,
            int64_t x_stride, const std::byte* ahead, ValuesToTurn& turned, const Out& out) {
  int64_t g = 0;
  for (; g + kGroupsAtOnce <= groups; g += kGroupsAtOnce, ahead += 64 * (last - first)) {
    SumGroups<R, kGroupsAtOnce>(tile + 64 * g * quads, quads, first, last, x, x_stride, ahead, turned, out.From(0, g));
  }
  for (; g < groups; ++g, ahead += 64 * (last - first)) {
    SumGroups<R, 1>(tile + 64 * g * quads, quads, first, last, x, x_stride, ahead, turned, out.From(0, g));
  }
}

// Of any number of lines, as many together as registers allow, or nearly.
template <class Out>
HWY_NOINLINE void Sums(const std::byte* tile, int64_t groups, int64_t quads, int64_t first, int64_t last,
                       const Factor* x, int64_t x_stride, int64_t lines, Ahead& ahead, ValuesToTurn& turned,
                       const Out& out) {
  constexpr auto kOfLines = []<size_t... R>(std::index_sequence<R...>) {
    return std::array{SumsOf<static_cast<int>(R) + 1, Out>...};
  }
  (std::make_index_sequence<kLinesOfSums>());
  InRounds<kLinesOfSums>(lines, [&](int64_t line, int64_t count) {
    const std::byte* const fetched = ahead.Take((groups + kGroupsAtOnce - 1) / kGroupsAtOnce * (last - first), tile);
    kOfLines[static_cast<size_t>(count - 1)](tile, groups, quads, first, last, x + line * x_stride, x_stride, fetched,
                                             turned, out.From(line, 0));
  });
}
