#pragma once

#include "cli/command_line.h"

namespace gannet {

void AddServe(CommandLine& command_line);

}  // namespace gannet
