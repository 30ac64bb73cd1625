// Norms, RoPE and activations. Sums run over sixteen lanes (element i in lane i mod 16), then across them.
#include <cmath>
#include <cstdint>
#include <cstring>

#include "kernels/cpu/target_setup.h"
#include "kernels/cpu/targets.h"

// clang-format off
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/elementwise.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
#include "kernels/cpu/lanes-inl.h"
// clang-format on

#if GANNET_IS_FAST
HWY_BEFORE_NAMESPACE();
namespace gannet::HWY_NAMESPACE {
namespace {

// Values that one task should at least work on: waking a thread costs about as much.
constexpr int64_t kValuesPerTask = 8192;

// Sixteen values, or the `count` < 16 that are left, as zero-padded lanes.
HWY_INLINE F32x16 LoadSome(const float* from, int64_t count) {
  if (count >= 16) return Load(from);
  float padded[16] = {};
  for (int64_t i = 0; i < count; ++i) padded[i] = from[i];
  return Load(padded);
}
HWY_INLINE void StoreSome(const F32x16& v, float* to, int64_t count) {
  if (count >= 16) return Store(v, to);
  float padded[16];
  Store(v, padded);
  for (int64_t i = 0; i < count; ++i) to[i] = padded[i];
}

template <typename F>
HWY_INLINE void ForRows(int64_t rows, int64_t values_per_row, ThreadPool& pool, const F& do_row) {
  const int64_t rows_per_task = (kValuesPerTask + values_per_row - 1) / (values_per_row > 0 ? values_per_row : 1);
  pool.ParallelFor((rows + rows_per_task - 1) / rows_per_task, [&](int64_t task, int) HWY_ATTR {
    for (int64_t row = task * rows_per_task; row < rows && row < (task + 1) * rows_per_task; ++row) do_row(row);
  });
}

void Normalize(const float* x, float* out, int64_t dim, const float* weight, float epsilon) {
  F32x16 squares = Broadcast(0);
  for (int64_t i = 0; i < dim; i += 16) {
    const F32x16 v = LoadSome(x + i, dim - i);
    squares = MulAdd(v, v, squares);
  }
  const F32x16 scale = Broadcast(1.0f / std::sqrt(SumOfLanes(squares) / static_cast<float>(dim) + epsilon));
  for (int64_t i = 0; i < dim; i += 16) {
    const F32x16 scaled = Mul(LoadSome(x + i, dim - i), scale);
    StoreSome(Mul(scaled, LoadSome(weight + i, dim - i)), out + i, dim - i);
  }
}

// first' = first c - second s, second' = second c + first s.
HWY_INLINE void Turn(F32x16& first, F32x16& second, const F32x16& c, const F32x16& s) {
  const F32x16 turned = NegMulAdd(second, s, Mul(first, c));
  second = MulAdd(first, s, Mul(second, c));
  first = turned;
}

void TurnHalves(float* x, int64_t pairs, const float* c, const float* s) {
  for (int64_t i = 0; i < pairs; i += 16) {
    const int64_t left = pairs - i;
    F32x16 first = LoadSome(x + i, left);
    F32x16 second = LoadSome(x + pairs + i, left);
    Turn(first, second, LoadSome(c + i, left), LoadSome(s + i, left));
    StoreSome(first, x + i, left);
    StoreSome(second, x + pairs + i, left);
  }
}

void TurnInterleaved(float* x, int64_t pairs, const float* c, const float* s) {
  for (int64_t i = 0; i < pairs; i += 16) {
    const int64_t left = pairs - i < 16 ? pairs - i : 16;
    float firsts[16] = {};
    float seconds[16] = {};
    for (int64_t j = 0; j < left; ++j) {
      firsts[j] = x[2 * (i + j)];
      seconds[j] = x[2 * (i + j) + 1];
    }
    F32x16 first = Load(firsts);
    F32x16 second = Load(seconds);
    Turn(first, second, LoadSome(c + i, left), LoadSome(s + i, left));
    Store(first, firsts);
    Store(second, seconds);
    for (int64_t j = 0; j < left; ++j) {
      x[2 * (i + j)] = firsts[j];
      x[2 * (i + j) + 1] = seconds[j];
    }
  }
}

// sigmoid(x) times `factor`, with e = exp(-|x|) so that nothing overflows: factor / (1 + e), or factor e / (1 + e) for
// x < 0.
HWY_INLINE F32x16 SigmoidTimes(const F32x16& x, const F32x16& factor) {
  F32x16 minus;
  GANNET_EACH_PART minus.part[i] = hn::Neg(hn::Abs(x.part[i]));
  const F32x16 e = ExpOfNegative(minus);
  F32x16 above;
  GANNET_EACH_PART {
    const auto negative = hn::Lt(x.part[i], hn::Zero(FloatTag()));
    above.part[i] = hn::Mul(factor.part[i], hn::IfThenElse(negative, e.part[i], hn::Set(FloatTag(), 1.0f)));
  }
  return Div(above, Add(Broadcast(1), e));
}
HWY_INLINE F32x16 AtMost(const F32x16& x, float limit) {
  F32x16 out;
  GANNET_EACH_PART out.part[i] = hn::Min(x.part[i], hn::Set(FloatTag(), limit));
  return out;
}
HWY_INLINE F32x16 Clamp(const F32x16& x, float limit) { return Max(AtMost(x, limit), Broadcast(-limit)); }

struct Silu {
  HWY_INLINE F32x16 operator()(const F32x16& gate, const F32x16& up) const { return Mul(SigmoidTimes(gate, gate), up); }
};
struct ClampedSilu {
  float limit;
  HWY_INLINE F32x16 operator()(const F32x16& gate, const F32x16& up) const {
    return Mul(AtMost(SigmoidTimes(gate, gate), limit), Clamp(up, limit));
  }
};
struct ClampedSwiglu {
  float limit;
  float alpha;
  HWY_INLINE F32x16 operator()(const F32x16& gate, const F32x16& up) const {
    const F32x16 g = AtMost(gate, limit);
    return Mul(SigmoidTimes(Mul(g, Broadcast(alpha)), g), Add(Clamp(up, limit), Broadcast(1)));
  }
};
struct Sigmoid {
  HWY_INLINE F32x16 operator()(const F32x16& gate, const F32x16& up) const { return SigmoidTimes(gate, up); }
};
struct Softsign {  // (x / (1 + |x|) + shift) * scale
  float shift;
  float scale;
  HWY_INLINE F32x16 operator()(const F32x16& gate, const F32x16& up) const {
    const F32x16 soft = Div(gate, Add(Broadcast(1), Abs(gate)));
    return Mul(Mul(Add(soft, Broadcast(shift)), Broadcast(scale)), up);
  }
};

template <typename Act>
HWY_INLINE void ActivateRun(const Act& act, const float* gate, const float* up, float* out, int64_t count) {
  for (int64_t i = 0; i < count; i += 16) {
    StoreSome(act(LoadSome(gate + i, count - i), LoadSome(up + i, count - i)), out + i, count - i);
  }
}

template <typename Act>
void ActivateRows(const GatedActivationArgs& args, const Act& act, ThreadPool& pool) {
  ForRows(args.rows, args.width, pool, [&](int64_t row) HWY_ATTR {
    const float* gate = args.gate + row * args.gate_stride;
    const float* up = args.up + row * args.up_stride;
    float* out = args.out + row * args.out_stride;
    if (args.gate_repeat == 1) return ActivateRun(act, gate, up, out, args.width);
    for (int64_t first = 0; first < args.width; first += args.gate_repeat, ++gate) {
      const F32x16 same = Broadcast(*gate);
      for (int64_t i = 0; i < args.gate_repeat; i += 16) {
        const int64_t left = args.gate_repeat - i;
        StoreSome(act(same, LoadSome(up + first + i, left)), out + first + i, left);
      }
    }
  });
}

// use(the function of gate and up that `activation` is).
template <typename Use>
HWY_INLINE void WithActivation(const ActivationSpec& activation, const Use& use) {
  const float limit = static_cast<float>(activation.limit);
  switch (activation.kind) {
    case Activation::kSilu:
      return use(Silu());
    case Activation::kClampedSilu:
      return use(ClampedSilu{limit});
    case Activation::kClampedSwiglu:
      return use(ClampedSwiglu{limit, static_cast<float>(activation.alpha)});
    case Activation::kSigmoid:
      return use(Sigmoid());
    case Activation::kScaledSoftsign:
      return use(Softsign{0, 2});
    case Activation::kShiftedSoftsign:
      return use(Softsign{1, 0.5f});
  }
}

}  // namespace

void RmsNorm(const RmsNormArgs& args, ThreadPool& pool) {
  ForRows(args.rows, args.groups * args.dim, pool, [&](int64_t row) HWY_ATTR {
    for (int64_t group = 0; group < args.groups; ++group) {
      Normalize(args.x + row * args.x_stride + group * args.dim, args.out + row * args.out_stride + group * args.dim,
                args.dim, args.weight, args.epsilon);
    }
  });
}

void Rope(const RopeArgs& args, ThreadPool& pool) {
  const int64_t pairs = args.dims / 2;
  ForRows(args.rows, args.heads * args.dims, pool, [&](int64_t row) HWY_ATTR {
    for (int64_t head = 0; head < args.heads; ++head) {
      float* x = args.x + row * args.x_stride + head * args.head_dim + args.offset;
      const auto turn = args.pairing == RopePairing::kHalves ? TurnHalves : TurnInterleaved;
      turn(x, pairs, args.cos + row * pairs, args.sin + row * pairs);
    }
  });
}

void GatedActivation(const GatedActivationArgs& args, ThreadPool& pool) {
  WithActivation(args.activation, [&](const auto& act) HWY_ATTR { ActivateRows(args, act, pool); });
}

void Activate(const ActivationSpec& activation, float* gate, const float* up, int64_t count) {
  WithActivation(activation, [&](const auto& act) HWY_ATTR { ActivateRun(act, gate, up, gate, count); });
}

}  // namespace gannet::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif  // GANNET_IS_FAST
