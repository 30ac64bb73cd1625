// Writes a checkpoint in the safetensors format, tensor by tensor as the data comes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace gannet {

// Declare() every tensor first; then Write() each one's data in the declared order, in as many chunks as wanted; then
// Finish(). Breaking that order, an unknown dtype or a wrong number of bytes is the caller's error and asserts.
//
// The files are model.safetensors, or model-00001-of-0000N.safetensors with model.safetensors.index.json when the data
// exceeds `max_shard_bytes`: shards are filled in the declared order, and a tensor is never split.
class SafetensorsWriter {
 public:
  // Makes the folder. Throws LoadError("checkpoint", ...) when that fails or it already holds *.safetensors files.
  SafetensorsWriter(std::filesystem::path folder, int64_t max_shard_bytes);

  // `shape` is outermost first.
  void Declare(std::string_view name, std::string_view dtype, std::span<const int64_t> shape);
  // Throws LoadError("checkpoint", ...) when the file cannot be written.
  void Write(std::string_view name, std::span<const std::byte> chunk);
  void Finish();

 private:
  struct Tensor {
    std::string name;
    std::string dtype;
    std::vector<int64_t> shape;
    int64_t bytes = 0;
    int64_t alignment = 1;
    size_t shard = 0;
    int64_t begin = 0;  // bytes into the shard's data
  };

  void Plan();
  void OpenShard(size_t shard);
  void CloseShard();
  void AdvanceTo(size_t shard);
  void StartTensor();
  void SkipDone();
  void WriteIndex();
  std::filesystem::path ShardName(size_t shard) const;
  [[noreturn]] void Fail(const std::filesystem::path& file) const;

  std::filesystem::path folder_;
  int64_t max_shard_bytes_;
  std::vector<Tensor> tensors_;
  size_t shards_ = 0;  // 0 until planned
  std::ofstream file_;
  size_t open_shard_ = 0;
  int64_t data_start_ = 0;  // of the open shard
  size_t current_ = 0;      // the tensor being written
  int64_t written_ = 0;     // bytes of it
};

}  // namespace gannet
