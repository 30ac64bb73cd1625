// A file mapped read-only.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string>

namespace gannet {

class MappedFile {
 public:
  // Throws LoadError("base", ...) naming the path when it cannot be opened, is not a regular file, or is empty.
  static std::shared_ptr<const MappedFile> Open(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::span<const std::byte> bytes() const { return {data_, size_}; }
  // Tells the kernel that whole pages inside this part are not needed for now; they come back from the file when read.
  // They stay in the page cache, unless less than an eighth of the memory is free: what is made of this part then takes
  // their place, and the kernel need not search for pages to give up, which may be parts still to be read.
  static void Release(std::span<const std::byte> part);
  // Takes whole pages inside this part that have been read, and that nobody else has mapped, out of the page cache.
  static void Evict(std::span<const std::byte> part);
  // How many bytes of this part would have to come from the disk, judged by one page of every MiB. What the kernel
  // does not tell, mincore(2), counts as being in memory.
  static int64_t ColdBytes(std::span<const std::byte> part);
  // Asks the kernel to read this part ahead.
  static void WillNeed(std::span<const std::byte> part);

 private:
  MappedFile(std::filesystem::path path, const std::byte* data, size_t size)
      : path_(std::move(path)), data_(data), size_(size) {}

  std::filesystem::path path_;
  const std::byte* data_;
  size_t size_;
};

// The whole file as text; throws LoadError("base", ...) when it cannot be read or holds more than `max_bytes`.
std::string ReadTextFile(const std::filesystem::path& path, size_t max_bytes = size_t{1} << 30);

}  // namespace gannet
