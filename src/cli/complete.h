#pragma once

#include "cli/command_line.h"

namespace gannet {

void AddComplete(CommandLine& command_line);

}  // namespace gannet
