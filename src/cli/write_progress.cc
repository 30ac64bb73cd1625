#include "cli/write_progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <system_error>

#include "cli/common.h"

namespace gannet {

namespace fs = std::filesystem;

WriteProgress::WriteProgress(int64_t total_bytes, std::string verb)
    : total_(total_bytes), verb_(std::move(verb)), terminal_(isatty(STDERR_FILENO) != 0) {}

void WriteProgress::Add(int64_t bytes) {
  done_ += bytes;
  const auto now = std::chrono::steady_clock::now();
  if (now - shown_ < std::chrono::seconds(terminal_ ? 1 : 5)) return;
  shown_ = now;
  std::fputs(fmt::format("{}{}: {:.1f} of {:.1f} GB{}", terminal_ ? "\r" : "", verb_, static_cast<double>(done_) / 1e9,
                         static_cast<double>(total_) / 1e9, terminal_ ? "" : "\n")
                 .c_str(),
             stderr);
}

void CheckSpace(const fs::path& folder, int64_t bytes) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) throw UsageError(fmt::format("cannot make the folder {}: {}", folder.string(), error.message()));
  const fs::space_info space = fs::space(folder, error);
  if (!error && space.available < static_cast<uintmax_t>(bytes) + (uintmax_t{16} << 20)) {
    throw UsageError(fmt::format("{} needs {:.1f} GB, but its disk has {:.1f} GB free", folder.string(),
                                 static_cast<double>(bytes) / 1e9, static_cast<double>(space.available) / 1e9));
  }
}

}  // namespace gannet
