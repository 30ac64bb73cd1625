// The tables of fast kernels that this machine can run, best first.
#pragma once

#include <vector>

#include "kernels/kernels.h"

namespace gannet {

struct RoofLoops;

std::vector<const Kernels*> CpuTables();
// The measuring loops of the named table, or of the best one for any other name; null if this machine has none.
const RoofLoops* RoofLoopsOf(const char* kernels_name);

}  // namespace gannet
