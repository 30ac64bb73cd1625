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
#include "checkpoint/tensor_plan.h"
#include "spec/tensor_names.h"

namespace gannet {

// How much of a model a quantizer takes, by what a tensor is for.
enum class QuantizedPart {
  kNone,        // norms, biases, routers, an indexer's head weights: few bytes that decide much
  kProjection,  // of attention and of feed-forward layers, experts, a draft head's
  kLatent,      // the up-projections of the latent
  kVocabulary,  // embedding, lm_head
};
QuantizedPart PartOf(Slot slot);

// FindEncoder for a model of these tensors: mxfp4 of experts that lie as [E, K, N] is gpt-oss's, which has those alone.
const Encoder* EncoderFor(const std::string& flag, std::span<const FileTensor> tensors);
// Whether it takes the tensor, whose rows are K values whatever the file's order.
bool Takes(const Encoder& encoder, const FileTensor& tensor);
// [N, K], or [E, N, K] of what floats have as [E, K, N].
std::vector<int64_t> MatrixOf(const FileTensor& tensor);
std::string ModuleOf(const std::string& name);  // without ".weight"; experts in one tensor have none

class EncodedWriter {
 public:
  EncodedWriter(const std::filesystem::path& folder, int64_t max_shard_bytes, ThreadPool& pool)
      : writer_(folder, max_shard_bytes), pool_(pool) {}

  // Every tensor first, in the order in which they are written; an encoded one's shape is that of its matrix, [N, K] or
  // [E, N, K].
  void Declare(const std::string& name, std::string_view dtype, const std::vector<int64_t>& shape);
  void DeclareEncoded(const std::string& name, const std::vector<int64_t>& matrix, const Encoder& encoder);
  // Of a plain tensor, in as many chunks as wanted.
  void WriteBytes(std::string_view name, std::span<const std::byte> chunk) { writer_.Write(name, chunk); }
  // Rows of an encoded one, in chunks that are multiples of RowsTogether but for the last. `largest`: MatrixRows'.
  // Returns about how many bytes they became.
  int64_t WriteRows(const std::string& name, std::span<const float> rows, float largest);
  static int64_t RowsTogether(int64_t k);
  void Finish() { writer_.Finish(); }

  int64_t bytes() const { return bytes_; }  // declared so far
  // quantization_config as the format's dialect has it, with the plain matrices in its exclude list.
  Json QuantizationConfig(const Encoder& encoder) const;

 private:
  struct Part {
    std::string name;
    int64_t bytes;
    std::vector<std::byte> buffer;  // all of it; of values that do not lie along N only a chunk's
  };
  struct Encoded {
    const Encoder* encoder;
    int64_t n;
    int64_t k;
    std::vector<Part> parts = {};
    int64_t written = 0;  // rows
  };

  SafetensorsWriter writer_;
  ThreadPool& pool_;
  std::map<std::string, Encoded, std::less<>> encoded_;
  std::map<std::string, const Encoder*> modules_;  // of matrices: null where plain
  int64_t bytes_ = 0;
};

}  // namespace gannet
