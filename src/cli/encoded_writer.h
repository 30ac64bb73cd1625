// Checkpoints with quantized tensors, written matrix by matrix: what synth and quantize share.
#pragma once

#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/thread_pool.h"
#include "checkpoint/formats/encode.h"
#include "checkpoint/safetensors_writer.h"
#include "spec/tensor_names.h"

namespace gannet {

// How much of a model a quantizer takes, by what a tensor is for.
enum class QuantizedPart {
  kNone,        // norms, biases, routers, an indexer's head weights: few bytes that decide much
  kProjection,  // of attention and of feed-forward layers, experts, a draft head's
  kSensitive,   // embedding, lm_head, the up-projections of the latent
};
QuantizedPart PartOf(Slot slot);

class EncodedWriter {
 public:
  EncodedWriter(const std::filesystem::path& folder, int64_t max_shard_bytes, ThreadPool& pool)
      : writer_(folder, max_shard_bytes), pool_(pool) {}

  // Every tensor first, in the order in which they are written. `encoder` null: as it is.
  void Declare(const std::string& name, std::string_view dtype, const std::vector<int64_t>& shape,
               const Encoder* encoder = nullptr);
  // Of a plain tensor, in as many chunks as wanted.
  void WriteBytes(std::string_view name, std::span<const std::byte> chunk) { writer_.Write(name, chunk); }
  // Rows of an encoded one, in chunks that are multiples of RowsTogether but for the last.
  void WriteRows(const std::string& name, std::span<const float> rows);
  static int64_t RowsTogether(int64_t k);
  void Finish() { writer_.Finish(); }

  int64_t bytes() const { return bytes_; }  // declared so far
  // quantization_config as Quark (mxfp4, int8 beside it), DeepSeek (fp8-block) or compressed-tensors (int8) write it,
  // with the plain matrices in its exclude list.
  Json QuantizationConfig(const Encoder& encoder) const;

 private:
  struct Encoded {
    const Encoder* encoder;
    int64_t k;
    int64_t rows_left;
    std::vector<std::byte> scales;
  };
  SafetensorsWriter writer_;
  ThreadPool& pool_;
  std::map<std::string, Encoded, std::less<>> encoded_;
  std::map<std::string, const Encoder*> modules_;  // of matrices: null where plain
  std::vector<std::byte> values_;
  int64_t bytes_ = 0;
};

}  // namespace gannet
