// gannet quantize: a checkpoint of floats written anew in a quantized format.
#pragma once

#include <CLI/CLI.hpp>

namespace gannet {

void AddQuantize(CLI::App& app, int& exit_code);

}  // namespace gannet
