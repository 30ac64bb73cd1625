#pragma once

#include "cli/command_line.h"

namespace gannet {

void AddRender(CommandLine& command_line);

}  // namespace gannet
