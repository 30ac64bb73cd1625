// gannet quantize: a checkpoint of floats written anew in a quantized format.
#pragma once

#include "cli/command_line.h"

namespace gannet {

void AddQuantize(CommandLine& command_line);

}  // namespace gannet
