#pragma once

#include "cli/command_line.h"

namespace gannet {

void AddInspect(CommandLine& command_line);

}  // namespace gannet
