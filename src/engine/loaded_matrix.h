// A weight of the model and how often it is needed.
#pragma once

#include <cmath>

#include "kernels/matmul.h"

namespace gannet {

struct LoadedMatrix {
  PackedMatrix* matrix = nullptr;
  double per_token = 1;  // how likely a generated token needs it: of experts, chosen / all
  // The same of a token for each of so many streams, whose choices have nothing to do with each other.
  double per_step(int streams) const { return 1 - std::pow(1 - per_token, streams); }
};

}  // namespace gannet
