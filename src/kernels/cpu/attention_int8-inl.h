// The steps of attention_int8.h at the instruction set around it. Included inside a namespace, more than once, as
// int8_dots-inl.h is.
#include "kernels/cpu/byte_vectors-inl.h"

#if GANNET_INT8_VNNI
using Factor = int8_t;  // of a query; the bits of a probability are those of a uint8
using ProbabilityFactor = uint8_t;
constexpr int kKeyOffset = kQ8Offset;  // makes keys unsigned where they must be
// Groups and lines whose sums registers hold at once.
constexpr int kGroupsAtOnce = kParts == 1 ? 2 : 1;
constexpr int kLinesOfSums = kParts == 1 ? 10 : 4;
#else
using Factor = int16_t;
using ProbabilityFactor = int16_t;
constexpr int kKeyOffset = 0;
constexpr int kGroupsAtOnce = 1;
constexpr int kLinesOfSums = 4;
#endif
constexpr int64_t kLinesAtOnce = 32;

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

#ifdef GANNET_INT8_AMX
HWY_INLINE bool UsesTiles(const KvLayout& layout) { return KeysInPlace(layout); }
#else
HWY_INLINE bool UsesTiles(const KvLayout&) { return false; }
#endif
#if GANNET_INT8_VNNI
// Many heads to a key are worth the turning of their sums instead of the keys.
HWY_INLINE bool UsesRows(const KvLayout& layout) { return layout.latent && !UsesTiles(layout); }
#else
HWY_INLINE bool UsesRows(const KvLayout&) { return false; }
#endif

// So many queries lie together, from the first of them: factors, then the scales of each.
HWY_INLINE int64_t Together(const KvLayout& layout) {
  return UsesTiles(layout) ? kQueriesTogether : UsesRows(layout) ? kLinesOfVector : 1;
}
template <typename Byte>
HWY_INLINE Byte* QueriesWith(const KvLayout& layout, Byte* queries, int64_t line) {
  return queries + line / Together(layout) * Together(layout) * Int8QueryBytes(layout);
}
template <typename Byte>
HWY_INLINE auto* ScalesOf(const KvLayout& layout, Byte* queries, int64_t line) {
  using Scale = std::conditional_t<std::is_const_v<Byte>, const QueryScale, QueryScale>;
  const int64_t together = Together(layout);
  return reinterpret_cast<Scale*>(QueriesWith(layout, queries, line) + 2 * together * PaddedKeyDim(layout)) +
         2 * (line % together);
}

#if GANNET_INT8_VNNI
#include "kernels/cpu/attention_rows-inl.h"
#endif
#ifdef GANNET_INT8_AMX
#include "kernels/cpu/attention_amx-inl.h"
#endif

void SetQuery(const KvLayout& layout, const float* q, float scale, std::byte* queries, int64_t line) {
  const int64_t together = Together(layout);
  Factor* const factors =
      reinterpret_cast<Factor*>(QueriesWith(layout, queries, line)) + 16 * (line % together);  // of dims 0..15
  QueryScale* const scales = ScalesOf(layout, queries, line);
  const hn::Rebind<Factor, IntTag> narrow;
  for (const KeyPart& part : KeyParts(layout)) {
    if (part.dims == 0) continue;
    IntVec bits = hn::Zero(IntTag());
    const auto load = [&](int64_t d) HWY_ATTR {
      const float* from = q + part.first + d;
      if (d + 16 <= part.dims) return Mul(Load(from), Broadcast(scale));
      alignas(64) float values[16] = {};
      std::copy_n(from, part.dims - d, values);
      return Mul(Load(values), Broadcast(scale));
    };
    for (int64_t d = 0; d < part.dims; d += 16) bits = LargerMagnitudes(load(d), bits);
    const IntegerScale of_part(bits, 127);
    IntVec sums = hn::Zero(IntTag());
    for (int64_t d = 0; d < part.dims; d += 16) {
      const F32x16 scaled = Mul(load(d), Broadcast(of_part.inverse));
      GANNET_EACH_PART {
        const IntVec quants = of_part.counts ? hn::NearestInt(scaled.part[i]) : hn::Zero(IntTag());
        sums = hn::Add(sums, quants);
#ifdef GANNET_INT8_AMX
        if (UsesTiles(layout)) {
          StoreInTile(layout, hn::DemoteTo(narrow, quants), queries, line, part.place + d);
          continue;
        }
#endif
        hn::StoreU(hn::DemoteTo(narrow, quants), narrow, factors + together * (part.place + d) + kLanes * i);
      }
    }
    const int offset = UsesTiles(layout) ? 0 : kKeyOffset;
    scales[part.scale] = {of_part.scale, -offset * hn::GetLane(hn::SumOfLanes(IntTag(), sums))};
  }
}

void MakeKeyTiles(const KvLayout& layout, const std::byte* block, std::byte* tile) {
  for (const KeyPart& part : KeyParts(layout)) {
    MakeKeyTile(reinterpret_cast<const int8_t*>(block) + part.place, PaddedKeyDim(layout), RoundUp16(part.dims),
                kKeyOffset, tile + kBlockTokens * part.place);
  }
}

Int8Blocks ValuesOf(const KvLayout& layout, Int8Blocks blocks) {
  for (const std::byte*& of_block : blocks) {
    if (of_block) of_block += ValueOffset(layout, 0);
  }
  return blocks;
}

HWY_INLINE bool TurnsKeys(const KvLayout& layout) { return !UsesTiles(layout) && !UsesRows(layout); }

// Where those of block `b` and of values from dim d lie in tiles for more than one step.
HWY_INLINE std::byte* KeyTilesAt(const KvLayout& layout, std::byte* tiles, int64_t b) {
  return tiles + b * kBlockTokens * PaddedKeyDim(layout);
}
HWY_INLINE std::byte* ValueTilesAt(const KvLayout& layout, std::byte* tiles, int64_t d) {
  return tiles + kInt8StepTokens * ((TurnsKeys(layout) ? PaddedKeyDim(layout) : 0) + d);
}

void MakeTiles(const KvLayout& layout, const Int8Blocks& blocks, std::byte* tiles) {
  if (UsesTiles(layout)) return;  // StepLines turns the values on its way
  for (size_t b = 0; TurnsKeys(layout) && b < blocks.size(); ++b) {
    if (blocks[b]) MakeKeyTiles(layout, blocks[b], KeyTilesAt(layout, tiles, static_cast<int64_t>(b)));
  }
  const auto absent = std::ranges::count(blocks, nullptr);  // all before the others, or all after them
  const int64_t first = blocks[0] ? 0 : kBlockTokens * absent;
  const int64_t last = first + kInt8StepTokens - kBlockTokens * absent;
  const Int8Blocks values = ValuesOf(layout, blocks);
  const int64_t dims = PaddedValueDim(layout);
  ValuesToTurn turned(values, ValueStride(layout), first, last);
  for (int64_t d = 0; d < dims; d += kDimsAtOnce) {
    turned.Begin(d, dims - d, ValueTilesAt(layout, tiles, d));
    turned.Rest();
  }
}

// Which of the lines that step over blocks together.
enum class LinesOfStep { kAll, kFirst, kMore };

// Of at most kLinesAtOnce lines. kAll turns a block's keys, where they must be, and dims of the values while it
// multiplies those before, where they stay in the nearest cache; kFirst turns all side by side for kMore, which finds
// them there. `scales` are [2][kInt8StepTokens].
void StepLines(const KvLayout& layout, const std::byte* queries, int64_t line, int64_t lines, std::byte* tiles,
               const Int8Blocks& blocks, const float* scales, KeySpan seen, Ahead& ahead, LinesOfStep which,
               float* states) {
  alignas(64) int32_t sums[2][kLinesAtOnce * kInt8StepTokens];
  const int64_t x_stride = Int8QueryBytes(layout) / static_cast<int64_t>(sizeof(Factor));
  const int64_t first = seen.begin / 16 * 16;
  const int64_t last = (seen.end + 15) / 16 * 16;
  const bool tiled = UsesTiles(layout);
  const int64_t dims = PaddedValueDim(layout);
  const auto parts = KeyParts(layout);
  const size_t part_count = parts[1].dims == 0 ? 1 : 2;
  // Of tiles an eighth is fetched with the keys, a half with the values.
  const int64_t with_lines = tiled ? ahead.Share(2, 2 * lines) : 0;
  const int64_t value_rounds = (dims + kDimsAtOnce - 1) / kDimsAtOnce;
  [[maybe_unused]] const int64_t with_values = tiled ? ahead.Share(4, lines * value_rounds) : 0;
  const auto place_of = [&](int64_t d) { return which != LinesOfStep::kAll ? d : tiled ? 0 : d % (2 * kDimsAtOnce); };
  const Int8Blocks values = ValuesOf(layout, blocks);
  ValuesToTurn turned(values, ValueStride(layout), first, last);
  const auto turn = [&](int64_t d) {
    if (tiled || which == LinesOfStep::kMore || d >= dims) return;
    turned.Begin(d, dims - d, ValueTilesAt(layout, tiles, place_of(d)));
  };
  turn(0);
  LineOfStep of_lines[kLinesAtOnce];
  const int64_t state_floats = AttentionCarry(layout);
  for (int64_t r = 0; r < lines; ++r) of_lines[r].state = states + r * state_floats;
  const std::span<LineOfStep> all{of_lines, static_cast<size_t>(lines)};
  alignas(64) Factor memory[(kLinesAtOnce + kLinesOfVector) * kInt8StepTokens];
  Factor* factors = memory;
#if GANNET_INT8_VNNI
  if (UsesRows(layout)) {
    const int64_t before = line % kLinesOfVector;  // lines of the first vector that are not seen
    FactorsOfRows(layout, queries, line, blocks, scales, seen, ahead, turned, all, before,
                  reinterpret_cast<uint8_t*>(factors));
    factors += before * kInt8StepTokens;
  } else
#endif
  {
#ifdef GANNET_INT8_AMX
    for (size_t p = 0; tiled && p < part_count; ++p) {
      KeysOfTiles(layout, parts[p], blocks, queries, line, lines, first, last, ahead,
                  ahead.Share(1, kInt8StepTokens / 32 * PaddedKeyDim(layout) / 64), sums[p]);
    }
#endif
    for (int64_t from = first, to; !tiled && from < last; from = to) {
      const int64_t block = from / kBlockTokens;
      to = std::min(last, (block + 1) * kBlockTokens);
      std::byte* const keys = which == LinesOfStep::kAll ? tiles : KeyTilesAt(layout, tiles, block);
      if (which != LinesOfStep::kMore) MakeKeyTiles(layout, blocks[static_cast<size_t>(block)], keys);
      for (size_t p = 0; p < part_count; ++p) {
        const int64_t quads = RoundUp16(parts[p].dims) / 4;
        Sums(keys + kBlockTokens * parts[p].place + 4 * (from % kBlockTokens) * quads, (to - from) / 16, quads, 0,
             quads, reinterpret_cast<const Factor*>(queries) + line * x_stride + parts[p].place, x_stride, lines, ahead,
             turned, SumsOfKeys{sums[p] + from});
      }
    }
    for (int64_t r = 0; r < lines; ++r) {
      const QueryScale* const query_scales = ScalesOf(layout, queries, line + r);
      for (size_t p = 0; p < part_count; ++p) {
        const QueryScale& by = query_scales[parts[p].scale];
        of_lines[r].parts[p] = {sums[p] + r * kInt8StepTokens, by.more, by.scale,
                                scales + parts[p].scale * kInt8StepTokens};
      }
    }
    const bool whole = seen.end - seen.begin == kInt8StepTokens;
    const auto soften = whole ? SoftenLines<true, kLinesAtOnce, ProbabilityFactor>
                              : SoftenLines<false, kLinesAtOnce, ProbabilityFactor>;
    soften(all, part_count, seen, scales + ValueScale(layout) * kInt8StepTokens, ahead, with_lines,
           reinterpret_cast<ProbabilityFactor*>(factors));
  }

  for (int64_t d = 0; d < dims; d += kDimsAtOnce) {
    const int64_t groups = std::min(kDimsAtOnce, dims - d) / 16;
    std::byte* const tile = ValueTilesAt(layout, tiles, place_of(d));
#ifdef GANNET_INT8_AMX
    if (tiled) {
      if (which != LinesOfStep::kMore) TurnValues(blocks, d, PaddedKeyDim(layout), first, last, tile);
      ValuesOfTiles(tile, factors, lines > 16, first, last, sums[0]);
      for (int64_t r = 0; r < lines; ++r) {
        ahead.Fetch(with_values);
        const AddToState to(of_lines[r], d);
        for (int v = 0; v < static_cast<int>(kDimsAtOnce) / kLanes; ++v) {
          to.Add(hn::LoadU(IntTag(), sums[0] + r * kDimsAtOnce + v * kLanes), v);
        }
      }
      continue;
    }
#endif
    turned.Rest();
    turn(d + kDimsAtOnce);
    Sums(tile, groups, kInt8StepTokens / 4, first / 4, last / 4, factors, kInt8StepTokens, lines, ahead, turned,
         SumsOfValues{of_lines, d});
  }
}

void Step(const KvLayout& layout, const std::byte* queries, int64_t line, int64_t lines, std::byte* tiles, bool made,
          const Int8Blocks& blocks, KeySpan seen, const Int8Blocks& next, float* states) {
  alignas(64) float scales[2 * kInt8StepTokens];
  for (size_t b = 0; b < blocks.size(); ++b) {
    if (!blocks[b]) continue;
    const float* const of_block = reinterpret_cast<const float*>(blocks[b] + ScaleOffset(layout, 0));
    float* const to = scales + static_cast<int64_t>(b) * kBlockTokens;
    std::copy_n(of_block, kBlockTokens, to);
    std::copy_n(of_block + kBlockTokens, kBlockTokens, to + kInt8StepTokens);
  }
  Ahead ahead(next, KeyOffset(layout, 1));
#ifdef GANNET_INT8_AMX
  std::optional<const Tiles> registers;
  if (UsesTiles(layout)) registers.emplace(ShapesOfStep());
#endif
  LinesOfStep which = made && !UsesTiles(layout) ? LinesOfStep::kMore
                      : lines <= kLinesAtOnce    ? LinesOfStep::kAll
                                                 : LinesOfStep::kFirst;
  for (int64_t count; lines > 0; lines -= count, line += count, states += count * AttentionCarry(layout)) {
    count = std::min(lines, kLinesAtOnce);
    StepLines(layout, queries, line, count, tiles, blocks, scales, seen, ahead, which, states);
    which = LinesOfStep::kMore;
  }
}
