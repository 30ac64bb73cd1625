#pragma once

#include <CLI/CLI.hpp>

namespace gannet {

void AddComplete(CLI::App& app, int& exit_code);

}  // namespace gannet
