#pragma once

#include "cli/command_line.h"

namespace gannet {

void AddChat(CommandLine& command_line);

}  // namespace gannet
