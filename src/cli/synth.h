#pragma once

#include <CLI/CLI.hpp>

namespace gannet {

void AddSynth(CLI::App& app, int& exit_code);

}  // namespace gannet
