// A model's files as they are: a folder in Hugging Face layout (config.json beside *.safetensors, sharded by
// model.safetensors.index.json or not) or one GGUF file. Everything stays mapped; nothing is converted.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/mapped_file.h"
#include "base/weight.h"

namespace gannet {

struct StoredTensor {
  std::string name;
  std::string dtype;           // as the file spells it ("BF16", "Q4_1")
  std::vector<int64_t> shape;  // outermost first, [out, in] for a matrix (GGUF's order is reversed on reading)
  std::shared_ptr<const MappedFile> file;
  std::span<const std::byte> data;  // inside the file
  // Of a weight in several tensors (formats/siblings.h): the others, and how many bytes they have.
  std::shared_ptr<const Scales> scales = {};
  int64_t scale_bytes = 0;
  bool transposed = false;  // in its last two dimensions, from what the same model has in bf16
  int64_t bytes() const { return static_cast<int64_t>(data.size()) + scale_bytes; }
};

struct Reading {
  int64_t cold_bytes = 0;  // of all tensors, not in memory
  double seconds = 0;      // that these take; 0 when there are none
};

class Checkpoint {
 public:
  // Throws LoadError("checkpoint", ...) naming file and tensor for any header that lies, a shard that is missing, and
  // an index that disagrees with its shards.
  static std::shared_ptr<const Checkpoint> Open(const std::filesystem::path& path);

  bool is_gguf() const { return is_gguf_; }
  const std::filesystem::path& path() const { return path_; }
  // config.json; or the GGUF metadata as a flat object without its arrays of more than 64 elements.
  const Json& config() const { return config_; }
  // The whole GGUF metadata, arrays included (tokenizer.ggml.tokens, ...). Null for a folder.
  const Json& metadata() const { return metadata_; }
  const std::map<std::string, StoredTensor, std::less<>>& tensors() const { return tensors_; }
  const StoredTensor* Find(std::string_view name) const;
  // The tensor as a weight of a recognised format; throws LoadError naming tensor and dtype otherwise. A vector has
  // one row; more than two dimensions are a stack of matrices, [.., out, in] as rows [.. * out].
  Weight WeightOf(const StoredTensor& tensor) const;
  int64_t total_bytes() const;  // of all tensors
  // How many tensors of which dtype, largest share first: "9216 MXFP4 (14.10 GB), 290 BF16 (0.71 GB)".
  std::string Census() const;
  // What of the tensors is on the disk alone, and how fast it comes: measured by reading some MiB of it.
  Reading MeasureReading() const;
  // Where the configuration says something else about quantized tensors than the files, and what is not read of them.
  const std::vector<std::string>& notices() const { return notices_; }

 private:
  Checkpoint() = default;
  void LoadFolder();
  void LoadGguf();
  // Maps a safetensors file and adds its tensors; returns their names.
  std::vector<std::string> AddSafetensors(const std::filesystem::path& file);
  void AddShards(const std::filesystem::path& index);

  std::filesystem::path path_;
  bool is_gguf_ = false;
  Json config_;
  Json metadata_;
  std::map<std::string, StoredTensor, std::less<>> tensors_;
  std::vector<std::string> notices_;
};

}  // namespace gannet
