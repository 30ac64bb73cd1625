#pragma once

#include <CLI/CLI.hpp>

namespace gannet {

void AddLogits(CLI::App& app, int& exit_code);

}  // namespace gannet
