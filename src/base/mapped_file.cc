#include "base/mapped_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>

#include "base/result.h"

namespace gannet {
namespace {

// The whole pages that lie inside `part`.
std::span<const std::byte> InnerPages(std::span<const std::byte> part) {
  const uintptr_t page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const uintptr_t begin = (reinterpret_cast<uintptr_t>(part.data()) + page - 1) / page * page;
  const uintptr_t end = reinterpret_cast<uintptr_t>(part.data() + part.size()) / page * page;
  if (end <= begin) return {};
  return {reinterpret_cast<const std::byte*>(begin), end - begin};
}

void Advise(std::span<const std::byte> part, int advice) {
  const std::span<const std::byte> pages = InnerPages(part);
  if (!pages.empty()) madvise(const_cast<std::byte*>(pages.data()), pages.size(), advice);
}

}  // namespace

std::shared_ptr<const MappedFile> MappedFile::Open(const std::filesystem::path& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) throw LoadError("base", fmt::format("cannot open {}: {}", path.string(), std::strerror(errno)));
  struct stat status {};
  const bool regular = fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
  if (!regular || status.st_size == 0) {
    close(fd);
    throw LoadError("base", fmt::format("{} is {}", path.string(), regular ? "empty" : "not a regular file"));
  }
  const size_t size = static_cast<size_t>(status.st_size);
  void* data = mmap(nullptr, size, PROT_READ, MAP_SHARED, fd, 0);
  const int error = errno;
  close(fd);
  if (data == MAP_FAILED) {
    throw LoadError("base", fmt::format("cannot map {}: {}", path.string(), std::strerror(error)));
  }
  return std::shared_ptr<const MappedFile>(new MappedFile(path, static_cast<const std::byte*>(data), size));
}

MappedFile::~MappedFile() { munmap(const_cast<std::byte*>(data_), size_); }

void MappedFile::Evict(std::span<const std::byte> part) { Advise(part, MADV_PAGEOUT); }

void MappedFile::Release(std::span<const std::byte> part) {
  struct sysinfo memory {};
  if (sysinfo(&memory) == 0 && memory.freeram < memory.totalram / 8) Evict(part);
  Advise(part, MADV_DONTNEED);
}

int64_t MappedFile::ColdBytes(std::span<const std::byte> part) {
  constexpr size_t kStep = size_t{1} << 20;
  const std::span<const std::byte> pages = InnerPages(part);
  int64_t cold = 0;
  for (size_t at = 0; at < pages.size(); at += kStep) {
    unsigned char resident = 1;
    const size_t step = std::min(kStep, pages.size() - at);
    if (mincore(const_cast<std::byte*>(pages.data() + at), 1, &resident) != 0) continue;
    if ((resident & 1) == 0) cold += static_cast<int64_t>(step);
  }
  return cold;
}

void MappedFile::WillNeed(std::span<const std::byte> part) { Advise(part, MADV_WILLNEED); }

std::string ReadTextFile(const std::filesystem::path& path, size_t max_bytes) {
  std::error_code error;
  const uintmax_t size = std::filesystem::file_size(path, error);
  if (error) throw LoadError("base", fmt::format("cannot read {}: {}", path.string(), error.message()));
  if (size > max_bytes) {
    throw LoadError("base", fmt::format("{} has {} bytes, more than the {} allowed", path.string(), size, max_bytes));
  }
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  if (!(file && (size == 0 || text << file.rdbuf()))) {
    throw LoadError("base", fmt::format("cannot read {}", path.string()));
  }
  return std::move(text).str();
}

}  // namespace gannet
