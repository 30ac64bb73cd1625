#pragma once

#include "cli/command_line.h"

namespace gannet {

void AddTokenize(CommandLine& command_line);

}  // namespace gannet
