// Softmax over keys that come block by block: states [maximum, sum, ..., values] as attention.h has them.
#if defined(GANNET_KERNELS_CPU_SOFTMAX_STATE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GANNET_KERNELS_CPU_SOFTMAX_STATE_INL_H_
#undef GANNET_KERNELS_CPU_SOFTMAX_STATE_INL_H_
#else
#define GANNET_KERNELS_CPU_SOFTMAX_STATE_INL_H_
#endif

#include <algorithm>
#include <limits>

#include "kernels/attention.h"
#include "kernels/cpu/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gannet::HWY_NAMESPACE {
namespace {

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

HWY_INLINE float ExpOf(float x) { return hn::GetLane(ExpOfNegative(Broadcast(x)).part[0]); }

// scores[16 from_group .. 16 to_group) of one line become exp(score - new maximum), zero outside [from, to). Updates
// the state's maximum and sum; returns what its values are to be multiplied with.
HWY_INLINE float Soften(float* scores, int64_t from, int64_t to, float* state) {
  const int64_t first = from / 16 * 16;
  const int64_t last = (to + 15) / 16 * 16;
  for (int64_t j = first; j < from; ++j) scores[j] = kMinusInfinity;
  for (int64_t j = to; j < last; ++j) scores[j] = kMinusInfinity;
  F32x16 most = Load(scores + first);
  for (int64_t j = first + 16; j < last; j += 16) most = Max(most, Load(scores + j));
  const float largest = std::max(state[0], MaxOfLanes(most));
  const float factor = state[1] == 0 ? 0.0f : ExpOf(state[0] - largest);
  F32x16 sum = Broadcast(0);
  for (int64_t j = first; j < last; j += 16) {
    const F32x16 p = ExpOfNegative(Add(Load(scores + j), Broadcast(-largest)));
    Store(p, scores + j);
    sum = Add(sum, p);
  }
  state[0] = largest;
  state[1] = state[1] * factor + SumOfLanes(sum);
  return factor;
}

// The state of two runs of keys, `more` after `state`.
HWY_INLINE void MergeState(int64_t state_floats, float* state, const float* more) {
  if (more[1] == 0) return;
  if (state[1] == 0) {
    std::copy_n(more, state_floats, state);
    return;
  }
  const float largest = std::max(state[0], more[0]);
  const float old_factor = ExpOf(state[0] - largest);
  const float new_factor = ExpOf(more[0] - largest);
  state[0] = largest;
  state[1] = state[1] * old_factor + more[1] * new_factor;
  for (int64_t i = kCarryHeader; i < state_floats; i += 16) {
    const F32x16 kept = Mul(Load(state + i), Broadcast(old_factor));
    Store(MulAdd(Load(more + i), Broadcast(new_factor), kept), state + i);
  }
}

}  // namespace
}  // namespace gannet::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
