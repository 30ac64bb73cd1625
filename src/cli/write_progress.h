// What commands that write checkpoints say meanwhile.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string>

namespace gannet {

// A line on stderr: of a terminal one that changes, else one every five seconds.
class WriteProgress {
 public:
  WriteProgress(int64_t total_bytes, std::string verb);
  void Add(int64_t bytes);

 private:
  int64_t total_;
  std::string verb_;
  int64_t done_ = 0;
  bool terminal_;
  std::chrono::steady_clock::time_point shown_ = std::chrono::steady_clock::now();
};

// Makes the folder; throws UsageError when its disk has no room for so many bytes.
void CheckSpace(const std::filesystem::path& folder, int64_t bytes);

}  // namespace gannet
