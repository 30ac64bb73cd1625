#pragma once

#include "cli/command_line.h"

namespace gannet {

void AddBench(CommandLine& command_line);

}  // namespace gannet
