#include "layers/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/result.h"
#include "spec/visit.h"

namespace gannet {
namespace {

constexpr double kTwoPi = 2 * std::numbers::pi;

double ScaledLlama3(const RopeLlama3& scaling, double frequency) {
  const double wavelength = kTwoPi / frequency;
  const double original = static_cast<double>(scaling.original_positions);
  if (wavelength < original / scaling.high_freq_factor) return frequency;
  if (wavelength > original / scaling.low_freq_factor) return frequency / scaling.factor;
  const double smooth =
      (original / wavelength - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor);
  return (1 - smooth) * frequency / scaling.factor + smooth * frequency;
}

// The dim whose wavelength fits `rotations` times into the original context.
double YarnCorner(const RopeSpec& rope, const RopeYarn& scaling, double rotations) {
  return static_cast<double>(rope.dims) *
         std::log(static_cast<double>(scaling.original_positions) / (rotations * kTwoPi)) / (2 * std::log(rope.theta));
}

double ScaledYarn(const RopeSpec& rope, const RopeYarn& scaling, double frequency, int64_t i) {
  double low = YarnCorner(rope, scaling, scaling.beta_fast);
  double high = YarnCorner(rope, scaling, scaling.beta_slow);
  if (scaling.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, static_cast<double>(rope.dims - 1));
  if (low == high) high += 0.001;
  const double ramp = std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
  return frequency / scaling.factor * ramp + frequency * (1 - ramp);
}

}  // namespace

RopeTable::RopeTable(const RopeSpec& spec, std::span<const float> divisors) : spec_(spec) {
  for (int64_t i = 0; i < spec.dims / 2; ++i) {
    const double frequency = std::pow(spec.theta, -2.0 * static_cast<double>(i) / static_cast<double>(spec.dims));
    const double scaled = std::visit(
        Overloaded{[&](std::monostate) { return frequency; },
                   [&](const RopeLinear& linear) { return frequency / linear.factor; },
                   [&](const RopeLlama3& llama3) { return ScaledLlama3(llama3, frequency); },
                   [&](const RopeYarn& yarn) { return ScaledYarn(spec, yarn, frequency, i); },
                   [&](const RopeDivisors&) {
                     GANNET_ASSERT(static_cast<int64_t>(divisors.size()) == spec.dims / 2, "one divisor a frequency");
                     return frequency / divisors[static_cast<size_t>(i)];
                   }},
        spec.scaling);
    inverse_frequencies_.push_back(static_cast<float>(scaled));
  }
  if (const RopeYarn* yarn = std::get_if<RopeYarn>(&spec.scaling)) {
    amplitude_ = static_cast<float>(yarn->attention_factor);
  }
}

void RopeTable::Fill(std::span<const int32_t> positions, BatchRope& out) const {
  const size_t half = inverse_frequencies_.size();
  out.cos.resize(positions.size() * half);
  out.sin.resize(positions.size() * half);
  for (size_t row = 0; row < positions.size(); ++row) {
    for (size_t i = 0; i < half; ++i) {
      // The angle is rounded to fp32 as the models' training code does.
      const float angle = static_cast<float>(positions[row]) * inverse_frequencies_[i];
      out.cos[row * half + i] = static_cast<float>(std::cos(static_cast<double>(angle))) * amplitude_;
      out.sin[row * half + i] = static_cast<float>(std::sin(static_cast<double>(angle))) * amplitude_;
    }
  }
}

}  // namespace gannet
