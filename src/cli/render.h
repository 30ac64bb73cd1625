#pragma once

#include <CLI/CLI.hpp>

namespace gannet {

void AddRender(CLI::App& app, int& exit_code);

}  // namespace gannet
