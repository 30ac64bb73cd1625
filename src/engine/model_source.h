// A checkpoint as the models room reads it.
#pragma once

#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "models/registry.h"

namespace gannet {

// The source asks `checkpoint` for tensors, so it must not outlive it. `overrides` are "key=value".
ModelSource SourceOf(const Checkpoint& checkpoint, std::vector<std::string> overrides);

}  // namespace gannet
