// The log: stderr only, so that stdout stays machine-readable. Usage: Log().info("loaded {} tensors", n).
#pragma once

#include <spdlog/logger.h>

namespace gannet {

spdlog::logger& Log();
// "trace", "debug", "info", "warning", "error" or "off"; false if the name is unknown.
bool SetLogLevel(const char* name);

}  // namespace gannet
