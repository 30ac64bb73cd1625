#include "base/npy.h"

#include <fmt/format.h>

#include <cstdio>
#include <cstring>

#include "base/mapped_file.h"
#include "base/result.h"

namespace gannet {
namespace {
constexpr std::string_view kMagic("\x93NUMPY\x01\x00", 8);
}

void WriteNpy(const std::filesystem::path& path, std::span<const int64_t> shape, std::span<const float> values) {
  std::string dims;
  for (const int64_t n : shape) dims += fmt::format("{},", n);
  std::string header = fmt::format("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}), }}", dims);
  header.append((64 - (kMagic.size() + 2 + header.size() + 1) % 64) % 64, ' ');
  header += '\n';
  const uint16_t length = static_cast<uint16_t>(header.size());
  std::FILE* file = path == "-" ? stdout : std::fopen(path.c_str(), "wb");
  if (!file) throw LoadError("base", fmt::format("cannot write {}: {}", path.string(), std::strerror(errno)));
  bool good = std::fwrite(kMagic.data(), 1, kMagic.size(), file) == kMagic.size() &&
              std::fwrite(&length, 2, 1, file) == 1 &&
              std::fwrite(header.data(), 1, header.size(), file) == header.size() &&
              std::fwrite(values.data(), 4, values.size(), file) == values.size();
  good = (file == stdout ? std::fflush(file) : std::fclose(file)) == 0 && good;
  if (!good) throw LoadError("base", fmt::format("cannot write {}: the disk may be full", path.string()));
}

NpyArray ReadNpy(const std::filesystem::path& path) {
  const std::string text = ReadTextFile(path);
  const auto refuse = [&] { return LoadError("base", fmt::format("{} is not an fp32 .npy file", path.string())); };
  if (text.size() < 10 || text.compare(0, kMagic.size(), kMagic) != 0) throw refuse();
  uint16_t length = 0;
  std::memcpy(&length, text.data() + 8, 2);
  if (text.size() < size_t{10} + length) throw refuse();
  const std::string header = text.substr(10, length);
  if (header.find("'<f4'") == std::string::npos || header.find("'fortran_order': False") == std::string::npos) {
    throw refuse();
  }
  NpyArray array;
  int64_t count = 1;
  size_t at = header.find("'shape': (");
  if (at == std::string::npos) throw refuse();
  for (at += 10; at < header.size() && header[at] != ')';) {
    size_t used = 0;
    array.shape.push_back(std::stoll(header.substr(at), &used));
    count *= array.shape.back();
    at += used;
    while (at < header.size() && (header[at] == ',' || header[at] == ' ')) ++at;
  }
  if (text.size() - 10 - length != static_cast<size_t>(count) * 4) throw refuse();
  array.values.resize(static_cast<size_t>(count));
  std::memcpy(array.values.data(), text.data() + 10 + length, static_cast<size_t>(count) * 4);
  return array;
}

}  // namespace gannet
