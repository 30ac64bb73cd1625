// NumPy's .npy files, version 1.0, little-endian fp32, C order (numpy.lib.format).
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

namespace gannet {

struct NpyArray {
  std::vector<int64_t> shape;
  std::vector<float> values;
};

// Throws LoadError("base", ...) when the file cannot be written. "-" is stdout.
void WriteNpy(const std::filesystem::path& path, std::span<const int64_t> shape, std::span<const float> values);
// Throws LoadError("base", ...) when the file is no such array.
NpyArray ReadNpy(const std::filesystem::path& path);

}  // namespace gannet
