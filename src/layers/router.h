// Which experts a row goes to: a function of the row's own scores.
#pragma once

#include <span>

#include "spec/layer_spec.h"

namespace gannet {

struct ChosenExpert {
  int32_t expert = 0;
  float weight = 0;
};
// logits [experts] (bias added) -> the chosen experts, best first; equal scores go to the lower index. `correction` is
// [experts] or empty; `chosen` holds spec.chosen places. Logits that are not numbers give weights that are none either.
void Route(const RouterSpec& spec, std::span<const float> logits, std::span<const float> correction,
           std::span<ChosenExpert> chosen);

}  // namespace gannet
