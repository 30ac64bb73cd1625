#include "base/log.h"

#include <spdlog/sinks/stdout_sinks.h>

#include <string_view>

namespace gannet {

spdlog::logger& Log() {
  static spdlog::logger logger = [] {
    spdlog::logger made("gannet", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    made.set_pattern("%H:%M:%S.%e %l %v");
    made.flush_on(spdlog::level::trace);
    return made;
  }();
  return logger;
}

bool SetLogLevel(const char* name) {
  const spdlog::level::level_enum level = spdlog::level::from_str(name);
  if (level == spdlog::level::off && std::string_view(name) != "off") return false;
  Log().set_level(level);
  return true;
}

}  // namespace gannet
