#pragma once

#include "cli/command_line.h"

namespace gannet {

void AddSynth(CommandLine& command_line);

}  // namespace gannet
