#pragma once

#include <CLI/CLI.hpp>

namespace gannet {

void AddServe(CLI::App& app, int& exit_code);

}  // namespace gannet
