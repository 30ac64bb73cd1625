// The softmax of a step over int8 blocks. Included inside a namespace of attention_int8.cc.

// What makes a line's sums over a part of the key scores.
struct ScoresOfPart {
  const int32_t* sums;  // kInt8StepTokens of them
  int32_t more;         // to each
  float scale;          // of the query; times each key's
  const float* key_scales;
};
struct LineOfStep {
  ScoresOfPart parts[2];
  float* state;
  float kept;  // what the state's values are to be multiplied with
  float unit;  // of the factors
};

// The values of a line's state from one dim on: kept times what they were, and sums times the unit. They are not read
// where nothing is kept: nothing may have been written.
class AddToState {
 public:
  HWY_INLINE AddToState(const LineOfStep& line, int64_t dim)
      : values_(line.state + kCarryHeader + dim),
        kept_(hn::Set(FloatTag(), line.kept)),
        unit_(hn::Set(FloatTag(), line.unit)) {}
  // The sums of vector `v` from there.
  HWY_INLINE void Add(IntVec sum, int v) const {
    float* const to = values_ + kLanes * v;
    const FloatVec before = hn::IfThenElseZero(hn::Ne(kept_, hn::Zero(FloatTag())), hn::LoadU(FloatTag(), to));
    hn::StoreU(hn::MulAdd(hn::ConvertTo(FloatTag(), sum), unit_, hn::Mul(before, kept_)), FloatTag(), to);
  }

 private:
  float* values_;
  FloatVec kept_;
  FloatVec unit_;
};

constexpr int64_t kExponentialsAtOnce = kLanes == 16 ? 8 : 4;  // vectors that registers hold on their way

// The step of softmax (Soften) of at most kMost lines over blocks, of whose tokens they see `seen`: their weights,
// times their values' scales, become factors in [0, 255] of the line's unit, those of the others zero. What weighs
// nothing is not looked at. Stage by stage for all lines, each of which is one long chain of dependent operations.
// kWhole: every token is seen.
template <bool kWhole, int64_t kMost, typename Integer>
HWY_NOINLINE void SoftenLines(std::span<LineOfStep> of_lines, size_t part_count, KeySpan seen,
                              const float* value_scales, Ahead& ahead, int64_t lines_ahead, Integer* factors) {
  constexpr int64_t kGroups = kInt8StepTokens / 16;
  constexpr int64_t kPadded = RoundUp16(kMost);
  const int64_t lines = std::ssize(of_lines);
  const auto is_seen = [&](int64_t g, int64_t count = 1) {
    return kWhole || (16 * g < seen.end && 16 * (g + count) > seen.begin);
  };
  alignas(64) float scores[kMost * kInt8StepTokens];
  alignas(64) float largest[kPadded] = {};
  alignas(64) float old_largest[kPadded] = {};
  alignas(64) float old_sums[kPadded] = {};
  alignas(64) float kept[kPadded];
  for (int64_t r = 0; r < lines; ++r) {
    ahead.Fetch(lines_ahead);
    const LineOfStep& of_line = of_lines[static_cast<size_t>(r)];
    F32x16 most = Broadcast(kMinusInfinity);
#pragma GCC unroll 8
    for (int64_t g = 0; g < kGroups; ++g) {
      if (!is_seen(g)) continue;
      F32x16 score;
      for (size_t p = 0; p < part_count; ++p) {
        const ScoresOfPart& part = of_line.parts[p];
        const F32x16 unit = Mul(Load(part.key_scales + 16 * g), Broadcast(part.scale));
        const F32x16 sum = ToFloat(LoadSums(part.sums + 16 * g, part.more));
        score = p == 0 ? Mul(sum, unit) : MulAdd(sum, unit, score);
      }
      if (!kWhole) {
        GANNET_EACH_PART {
          const IntVec token = hn::Iota(IntTag(), static_cast<int32_t>(16 * g + kLanes * i));
          const auto outside =
              hn::Or(hn::Lt(token, hn::Set(IntTag(), seen.begin)), hn::Not(hn::Lt(token, hn::Set(IntTag(), seen.end))));
          score.part[i] =
              hn::IfThenElse(hn::RebindMask(FloatTag(), outside), hn::Set(FloatTag(), kMinusInfinity), score.part[i]);
        }
      }
      most = Max(most, score);
      Store(score, scores + r * kInt8StepTokens + 16 * g);
    }
    old_largest[r] = of_line.state[0];
    old_sums[r] = of_line.state[1];
    largest[r] = std::max(old_largest[r], MaxOfLanes(most));
  }
  for (int64_t r = 0; r < lines; r += 16) {
    const F32x16 factor = ExpOfNegative(Add(Load(old_largest + r), Mul(Load(largest + r), Broadcast(-1))));
    const F32x16 sum = Load(old_sums + r);
    F32x16 kept_of;
    GANNET_EACH_PART kept_of.part[i] = hn::IfThenZeroElse(hn::Eq(sum.part[i], hn::Zero(FloatTag())), factor.part[i]);
    Store(kept_of, kept + r);
  }

  alignas(64) int32_t bits_of[kPadded] = {};
  for (int64_t r = 0; r < lines; ++r) {
    ahead.Fetch(lines_ahead);
    F32x16 total = Broadcast(0);
    IntVec bits = hn::Zero(IntTag());
    constexpr int64_t kAtOnce = kExponentialsAtOnce / kParts;  // groups
#pragma GCC unroll 8
    for (int64_t first = 0; first < kGroups; first += kAtOnce) {
      if (!is_seen(first, kAtOnce)) continue;
      float* const score = scores + r * kInt8StepTokens + 16 * first;
      FloatVec weights[kAtOnce * kParts];
#pragma GCC unroll 16
      for (int64_t v = 0; v < kAtOnce * kParts; ++v) {
        const FloatVec of_group = hn::Sub(LoadPart(score, v), hn::Set(FloatTag(), largest[r]));
        weights[v] = kWhole || is_seen(first + v / kParts) ? of_group : hn::Set(FloatTag(), kMinusInfinity);
      }
      ExpOfNegatives(weights);
#pragma GCC unroll 4
      for (int64_t g = 0; g < kAtOnce; ++g) {
        F32x16 weight;
        GANNET_EACH_PART weight.part[i] = weights[g * kParts + i];
        total = Add(total, weight);
        F32x16 scaled = Mul(weight, Load(value_scales + 16 * (first + g)));
        GANNET_EACH_PART {
          scaled.part[i] = hn::IfThenZeroElse(hn::Eq(weight.part[i], hn::Zero(FloatTag())), scaled.part[i]);
        }
        bits = LargerMagnitudes(scaled, bits);
        Store(scaled, score + 16 * g);
      }
    }
    of_lines[static_cast<size_t>(r)].kept = kept[r];
    of_lines[static_cast<size_t>(r)].state[0] = largest[r];
    of_lines[static_cast<size_t>(r)].state[1] = old_sums[r] * kept[r] + SumOfLanes(total);
    bits_of[r] = hn::GetLane(hn::MaxOfLanes(IntTag(), bits));
  }

  const hn::Rebind<Integer, IntTag> narrow;
  for (int64_t r = 0; r < lines; ++r) {
    const IntegerScale unit(bits_of[r], 255);
    of_lines[static_cast<size_t>(r)].unit = unit.scale;
#pragma GCC unroll 8
    for (int64_t g = 0; g < kGroups; ++g) {
      Integer* const to = factors + r * kInt8StepTokens + 16 * g;
      const bool counts = unit.counts && is_seen(g);
      GANNET_EACH_PART {
        const float* const scaled = scores + r * kInt8StepTokens + 16 * g;
        const IntVec quants = counts ? hn::NearestInt(hn::Mul(LoadPart(scaled, i), hn::Set(FloatTag(), unit.inverse)))
                                     : hn::Zero(IntTag());
        hn::StoreU(hn::DemoteTo(narrow, quants), narrow, to + kLanes * i);
      }
    }
  }
}

// A vector of scores is of so many lines and, in each block of 16 bytes, of four tokens.
constexpr int64_t kLinesOfVector = kLanes / 4;
constexpr int64_t kQuadsOfStep = kInt8StepTokens / 4;

// Block after block, `stride` apart.
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

// The largest lane of each block in all of its lanes.
template <class Vector>
HWY_INLINE Vector MaxOfBlocks(Vector v) {
  v = hn::Max(v, hn::Shuffle1032(v));
  return hn::Max(v, hn::Shuffle2301(v));
}

// What SoftenLines does, to the bit, from [vectors][kQuadsOfStep][kLanes] `scores`, which become weights times scales.
// The first vector's first `before` lines, and what is left of the last one, are nobody's. factors[line]
// [kInt8StepTokens], those `before` among them.
template <bool kWhole, int64_t kMost>
HWY_NOINLINE void SoftenVectors(std::span<LineOfStep> of_lines, int64_t before, KeySpan seen, const float* value_scales,
                                float* scores, uint8_t* factors) {
  constexpr int64_t kPadded = 4 * (kMost + kLinesOfVector);
  constexpr int64_t kAtOnce = kWhole ? kExponentialsAtOnce : 4;
  const FloatTag f;
  const hn::CappedTag<float, 4> block;
  const int64_t lines = std::ssize(of_lines);
  const int64_t vectors = (before + lines + kLinesOfVector - 1) / kLinesOfVector;
  const int64_t first = kWhole ? 0 : seen.begin / 16 * 4;  // quad
  const int64_t last = kWhole ? kQuadsOfStep : (seen.end + 15) / 16 * 4;
  alignas(64) float largest[kPadded];  // of each line four times, as all that follow
  alignas(64) float kept[kPadded];
  alignas(64) float sums[kPadded];
  alignas(64) int32_t bits_of[kPadded];
  for (int64_t r = 0; r < lines; ++r) {
    const float* const state = of_lines[static_cast<size_t>(r)].state;
    hn::Store(hn::Set(block, state[0]), block, largest + 4 * (before + r));
    hn::Store(hn::Set(block, state[1]), block, kept + 4 * (before + r));
  }
  for (int64_t n = 0; n < vectors; ++n) {
    float* const of_vector = scores + n * kQuadsOfStep * kLanes;
    FloatVec most[4] = {hn::Set(f, kMinusInfinity), hn::Set(f, kMinusInfinity), hn::Set(f, kMinusInfinity),
                        hn::Set(f, kMinusInfinity)};
    for (int64_t quad = first; quad < last; quad += 4) {
#pragma GCC unroll 4
      for (int64_t v = 0; v < 4; ++v) {
        FloatVec score = hn::LoadU(f, of_vector + (quad + v) * kLanes);
        if (!kWhole) {
          const IntVec token = hn::Add(hn::And(hn::Iota(IntTag(), 0), hn::Set(IntTag(), 3)),
                                       hn::Set(IntTag(), static_cast<int32_t>(4 * (quad + v))));
          const auto outside =
              hn::Or(hn::Lt(token, hn::Set(IntTag(), seen.begin)), hn::Not(hn::Lt(token, hn::Set(IntTag(), seen.end))));
          score = hn::IfThenElse(hn::RebindMask(f, outside), hn::Set(f, kMinusInfinity), score);
          hn::StoreU(score, f, of_vector + (quad + v) * kLanes);
        }
        most[v] = hn::Max(most[v], score);
      }
    }
    const FloatVec old_largest = hn::Load(f, largest + n * kLanes);
    const FloatVec new_largest =
        hn::Max(old_largest, MaxOfBlocks(hn::Max(hn::Max(most[0], most[1]), hn::Max(most[2], most[3]))));
    const FloatVec old_sum = hn::Load(f, kept + n * kLanes);
    FloatVec factor[1] = {hn::Sub(old_largest, new_largest)};
    ExpOfNegatives(factor);
    factor[0] = hn::IfThenZeroElse(hn::Eq(old_sum, hn::Zero(f)), factor[0]);
    hn::Store(new_largest, f, largest + n * kLanes);
    hn::Store(factor[0], f, kept + n * kLanes);
    hn::Store(hn::Mul(old_sum, factor[0]), f, sums + n * kLanes);
  }

  for (int64_t n = 0; n < vectors; ++n) {
    float* const of_vector = scores + n * kQuadsOfStep * kLanes;
    const FloatVec of_largest = hn::Load(f, largest + n * kLanes);
    FloatVec total[4] = {hn::Zero(f), hn::Zero(f), hn::Zero(f), hn::Zero(f)};
    IntVec bits = hn::Zero(IntTag());
    for (int64_t quad = first; quad < last; quad += kAtOnce) {
      FloatVec weights[kAtOnce];
#pragma GCC unroll 8
      for (int64_t v = 0; v < kAtOnce; ++v) {
        weights[v] = hn::Sub(hn::LoadU(f, of_vector + (quad + v) * kLanes), of_largest);
      }
      ExpOfNegatives(weights);
#pragma GCC unroll 8
      for (int64_t v = 0; v < kAtOnce; ++v) {
        total[v % 4] = hn::Add(total[v % 4], weights[v]);
        FloatVec scaled = hn::Mul(weights[v], hn::LoadDup128(f, value_scales + 4 * (quad + v)));
        scaled = hn::IfThenZeroElse(hn::Eq(weights[v], hn::Zero(f)), scaled);
        bits = hn::Max(bits, hn::BitCast(IntTag(), hn::Abs(scaled)));
        hn::StoreU(scaled, f, of_vector + (quad + v) * kLanes);
      }
    }
    FloatVec sum = hn::Add(hn::Add(total[0], total[2]), hn::Add(total[1], total[3]));  // SumOfLanes
    sum = hn::Add(sum, hn::Shuffle1032(sum));
    sum = hn::Add(sum, hn::Shuffle2301(sum));
    hn::Store(hn::Add(hn::Load(f, sums + n * kLanes), sum), f, sums + n * kLanes);
    hn::Store(MaxOfBlocks(bits), IntTag(), bits_of + n * kLanes);
  }

  alignas(64) float inverse[kPadded];
  for (int64_t r = 0; r < lines; ++r) {
    LineOfStep& line = of_lines[static_cast<size_t>(r)];
    const int64_t at = 4 * (before + r);
    const IntegerScale unit(bits_of[at], 255);
    line.kept = kept[at];
    line.unit = unit.scale;
    line.state[0] = largest[at];
    line.state[1] = sums[at];
    hn::Store(hn::Set(block, unit.inverse), block, inverse + at);
  }
  // Adding 1.5 * 2^23 rounds as NearestInt does, and leaves the integer in the lowest bits.
  constexpr float kRound = 12582912.0f;
  constexpr auto kBitsOfRound = static_cast<int32_t>(0x01010101U * std::bit_cast<uint32_t>(kRound));
  const hn::Repartition<uint8_t, IntTag> bytes;
  alignas(16) constexpr uint8_t kTokenAfterToken[16] = {0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15};
  const auto order = hn::LoadDup128(bytes, kTokenAfterToken);
  for (int64_t n = 0; n < vectors; ++n) {
    const float* const of_vector = scores + n * kQuadsOfStep * kLanes;
    const FloatVec of_unit = hn::Load(f, inverse + n * kLanes);
    const auto counts = hn::RebindMask(IntTag(), hn::Gt(of_unit, hn::Zero(f)));
    for (int64_t quad = first; quad < last; quad += 4) {
      const auto rounded = [&](int64_t v) HWY_ATTR {
        const FloatVec scaled = hn::Mul(hn::LoadU(f, of_vector + (quad + v) * kLanes), of_unit);
        return hn::BitCast(IntTag(), hn::Add(scaled, hn::Set(f, kRound)));
      };
      const IntVec all = hn::Add(hn::Add(rounded(0), hn::ShiftLeft<8>(rounded(1))),
                                 hn::Add(hn::ShiftLeft<16>(rounded(2)), hn::ShiftLeft<24>(rounded(3))));
      const IntVec words = hn::IfThenElseZero(counts, hn::Sub(all, hn::Set(IntTag(), kBitsOfRound)));
      StoreBlocks(hn::BitCast(IntTag(), hn::TableLookupBytes(hn::BitCast(bytes, words), order)),
                  reinterpret_cast<int32_t*>(factors + n * kLinesOfVector * kInt8StepTokens + 4 * quad),
                  kInt8StepTokens / 4);
    }
  }
}
