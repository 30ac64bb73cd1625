#pragma once

#include <CLI/CLI.hpp>

namespace gannet {

void AddBench(CLI::App& app, int& exit_code);

}  // namespace gannet
