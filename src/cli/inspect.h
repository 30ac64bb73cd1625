#pragma once

#include <CLI/CLI.hpp>

namespace gannet {

void AddInspect(CLI::App& app, int& exit_code);

}  // namespace gannet
