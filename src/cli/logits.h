#pragma once

#include "cli/command_line.h"

namespace gannet {

void AddLogits(CommandLine& command_line);

}  // namespace gannet
