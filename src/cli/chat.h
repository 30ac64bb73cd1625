#pragma once

#include <CLI/CLI.hpp>

namespace gannet {

void AddChat(CLI::App& app, int& exit_code);

}  // namespace gannet
