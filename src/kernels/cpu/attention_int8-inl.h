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

#include "kernels/cpu/attention_sums-inl.h"

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

// Which of the lines that step over blocks together.
enum class LinesOfStep { kAll, kFirst, kMore };

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

// Of a step's lines: their factors, from sums of keys that lie as they are, with AMX, or are turned.
void FactorsOfSums(const KvLayout& layout, const std::byte* queries, int64_t line, std::byte* tiles,
                   const Int8Blocks& blocks, const float* scales, KeySpan seen, Ahead& ahead, LinesOfStep which,
                   ValuesToTurn& turned, std::span<LineOfStep> of_lines, Factor* factors) {
  alignas(64) int32_t sums[2][kLinesAtOnce * kInt8StepTokens];
  const int64_t lines = std::ssize(of_lines);
  const int64_t first = seen.begin / 16 * 16;
  const int64_t last = (seen.end + 15) / 16 * 16;
  const bool tiled = UsesTiles(layout);
  const auto parts = KeyParts(layout);
  const size_t part_count = parts[1].dims == 0 ? 1 : 2;
  // Of tiles a quarter is fetched with the keys, a quarter here.
  const int64_t with_lines = tiled ? ahead.Share(2, 2 * lines) : 0;
#ifdef GANNET_INT8_AMX
  for (size_t p = 0; tiled && p < part_count; ++p) {
    KeysOfTiles(layout, parts[p], blocks, queries, line, lines, first, last, ahead,
                ahead.Share(2, kInt8StepTokens / 32 * PaddedKeyDim(layout) / 64), sums[p]);
  }
#endif
  const int64_t x_stride = Int8QueryBytes(layout) / static_cast<int64_t>(sizeof(Factor));
  for (int64_t from = first, to; !tiled && from < last; from = to) {
    const int64_t block = from / kBlockTokens;
    to = std::min(last, (block + 1) * kBlockTokens);
    std::byte* const keys = which == LinesOfStep::kAll ? tiles : KeyTilesAt(layout, tiles, block);
    if (which != LinesOfStep::kMore) MakeKeyTiles(layout, blocks[static_cast<size_t>(block)], keys);
    for (size_t p = 0; p < part_count; ++p) {
      const int64_t quads = RoundUp16(parts[p].dims) / 4;
      Sums(keys + kBlockTokens * parts[p].place + 4 * (from % kBlockTokens) * quads, (to - from) / 16, quads, 0, quads,
           reinterpret_cast<const Factor*>(queries) + line * x_stride + parts[p].place, x_stride, lines, ahead, turned,
           SumsOfKeys{sums[p] + from});
    }
  }
  for (int64_t r = 0; r < lines; ++r) {
    const QueryScale* const query_scales = ScalesOf(layout, queries, line + r);
    for (size_t p = 0; p < part_count; ++p) {
      const QueryScale& by = query_scales[parts[p].scale];
      of_lines[static_cast<size_t>(r)].parts[p] = {sums[p] + r * kInt8StepTokens, by.more, by.scale,
                                                   scales + parts[p].scale * kInt8StepTokens};
    }
  }
  const bool whole = seen.end - seen.begin == kInt8StepTokens;
  const auto soften =
      whole ? SoftenLines<true, kLinesAtOnce, ProbabilityFactor> : SoftenLines<false, kLinesAtOnce, ProbabilityFactor>;
  soften(of_lines, part_count, seen, scales + ValueScale(layout) * kInt8StepTokens, ahead, with_lines,
         reinterpret_cast<ProbabilityFactor*>(factors));
}

// Of at most kLinesAtOnce lines. kAll turns a block's keys, where they must be, and dims of the values while it
// multiplies those before, where they stay in the nearest cache; kFirst turns all side by side for kMore, which finds
// them there. `scales` are [2][kInt8StepTokens].
void StepLines(const KvLayout& layout, const std::byte* queries, int64_t line, int64_t lines, std::byte* tiles,
               const Int8Blocks& blocks, const float* scales, KeySpan seen, Ahead& ahead, LinesOfStep which,
               float* states) {
  const int64_t first = seen.begin / 16 * 16;
  const int64_t last = (seen.end + 15) / 16 * 16;
  const bool tiled = UsesTiles(layout);
  const int64_t dims = PaddedValueDim(layout);
  const auto place_of = [&](int64_t d) { return which == LinesOfStep::kAll ? d % (2 * kDimsAtOnce) : d; };
  const Int8Blocks values = ValuesOf(layout, blocks);
  ValuesToTurn turned(values, ValueStride(layout), first, last);
  const auto turn = [&](int64_t d) {
    if (tiled || which == LinesOfStep::kMore || d >= dims) return;
    turned.Begin(d, dims - d, ValueTilesAt(layout, tiles, place_of(d)));
  };
  turn(0);
  LineOfStep memory_of_lines[kLinesAtOnce];
  const std::span<LineOfStep> of_lines{memory_of_lines, static_cast<size_t>(lines)};
  for (LineOfStep& of_line : of_lines) of_line.state = std::exchange(states, states + AttentionCarry(layout));
  alignas(64) Factor memory_of_factors[(kLinesAtOnce + kLinesOfVector) * kInt8StepTokens];
  Factor* factors = memory_of_factors;
#if GANNET_INT8_VNNI
  if (UsesRows(layout)) {
    const int64_t before = line % kLinesOfVector;  // lines of the first vector that are not seen
    FactorsOfRows(layout, queries, line, blocks, scales, seen, ahead, turned, of_lines, before,
                  reinterpret_cast<uint8_t*>(factors));
    factors += before * kInt8StepTokens;
  } else
#endif
  {
    FactorsOfSums(layout, queries, line, tiles, blocks, scales, seen, ahead, which, turned, of_lines, factors);
  }

#ifdef GANNET_INT8_AMX
  if (tiled) {
    ValuesOfTiles(layout, blocks, factors, first, last, tiles, which, of_lines, ahead);
    return;
  }
#endif
  for (int64_t d = 0; d < dims; d += kDimsAtOnce) {
    turned.Rest();
    turn(d + kDimsAtOnce);
    Sums(ValueTilesAt(layout, tiles, place_of(d)), std::min(kDimsAtOnce, dims - d) / 16, kInt8StepTokens / 4, first / 4,
         last / 4, factors, kInt8StepTokens, lines, ahead, turned, SumsOfValues{of_lines.data(), d});
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
