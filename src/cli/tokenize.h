#pragma once

#include <CLI/CLI.hpp>

namespace gannet {

void AddTokenize(CLI::App& app, int& exit_code);

}  // namespace gannet
