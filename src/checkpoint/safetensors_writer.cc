#include "checkpoint/safetensors_writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/json.h"
#include "checkpoint/safetensors.h"

namespace gannet {

SafetensorsWriter::SafetensorsWriter(std::filesystem::path folder, int64_t max_shard_bytes)
    : folder_(std::move(folder)), max_shard_bytes_(max_shard_bytes) {
  GANNET_ASSERT(max_shard_bytes > 0, "a shard holds at least one byte");
  std::error_code error;
  std::filesystem::create_directories(folder_, error);
  if (error) RefuseFile(folder_.string(), fmt::format("cannot be made: {}", error.message()));
  for (const auto& entry : std::filesystem::directory_iterator(folder_, error)) {
    const std::string name = entry.path().filename().string();
    if (name.ends_with(".safetensors") || name.ends_with(".safetensors.index.json")) {
      RefuseFile(folder_.string(), fmt::format("already holds {}; choose another folder", name));
    }
  }
  if (error) RefuseFile(folder_.string(), fmt::format("cannot be listed: {}", error.message()));
}

void SafetensorsWriter::Declare(std::string_view name, std::string_view dtype, std::span<const int64_t> shape) {
  GANNET_ASSERT(shards_ == 0, "every tensor is declared before the first is written");
  const BlockLayout* layout = FindSafetensorsDtype(dtype);
  GANNET_ASSERT(layout != nullptr, "a dtype that safetensors knows");
  const Result<int64_t> bytes = BytesOf(*layout, shape);
  GANNET_ASSERT(bytes.ok(), "a shape whose size is a number of whole blocks");
  Tensor tensor;
  tensor.name = name;
  tensor.dtype = dtype;
  tensor.shape.assign(shape.begin(), shape.end());
  tensor.bytes = *bytes;
  tensor.alignment = AlignmentOf(*layout);
  tensors_.push_back(std::move(tensor));
}

void SafetensorsWriter::Plan() {
  std::vector<std::vector<Tensor*>> members(1);
  int64_t filled = 0;
  for (Tensor& tensor : tensors_) {
    if (!members.back().empty() && tensor.bytes > max_shard_bytes_ - filled) {
      members.emplace_back();
      filled = 0;
    }
    tensor.shard = members.size() - 1;
    members.back().push_back(&tensor);
    filled += tensor.bytes;
  }
  shards_ = members.size();
  // Wider elements first: the format allows no gaps, so this is what keeps every tensor aligned.
  for (std::vector<Tensor*>& shard : members) {
    std::stable_sort(shard.begin(), shard.end(),
                     [](const Tensor* a, const Tensor* b) { return a->alignment > b->alignment; });
    int64_t begin = 0;
    for (Tensor* tensor : shard) {
      tensor->begin = begin;
      begin += tensor->bytes;
    }
  }
  OpenShard(0);
}

void SafetensorsWriter::OpenShard(size_t shard) {
  Json header{Json::Object{}};
  Json::Object& members = header.as_object();
  Json format;
  format.Set("format", "pt");
  members.push_back({"__metadata__", std::move(format)});
  for (const Tensor& tensor : tensors_) {
    if (tensor.shard != shard) continue;
    Json::Array shape(tensor.shape.begin(), tensor.shape.end());
    Json entry;
    entry.Set("dtype", tensor.dtype);
    entry.Set("shape", Json(std::move(shape)));
    entry.Set("data_offsets", Json(Json::Array{tensor.begin, tensor.begin + tensor.bytes}));
    members.push_back({tensor.name, std::move(entry)});
  }
  std::string text = header.Dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  GANNET_ASSERT(text.size() <= kMaxSafetensorsHeader, "fewer tensors in a shard");
  const uint64_t length = text.size();
  open_shard_ = shard;
  data_start_ = static_cast<int64_t>(sizeof(length) + text.size());
  file_.open(folder_ / ShardName(shard), std::ios::binary | std::ios::trunc);
  file_.write(reinterpret_cast<const char*>(&length), sizeof(length));
  file_.write(text.data(), static_cast<std::streamsize>(text.size()));
  if (!file_) Fail(ShardName(shard));
}

void SafetensorsWriter::CloseShard() {
  file_.close();
  if (!file_) Fail(ShardName(open_shard_));
}

// A shard may hold nothing but empty tensors, which are never started; so none is passed over.
void SafetensorsWriter::AdvanceTo(size_t shard) {
  while (open_shard_ < shard) {
    CloseShard();
    OpenShard(open_shard_ + 1);
  }
}

void SafetensorsWriter::StartTensor() {
  const Tensor& tensor = tensors_[current_];
  AdvanceTo(tensor.shard);
  file_.seekp(data_start_ + tensor.begin);
}

// Moves on from tensors that have all their bytes.
void SafetensorsWriter::SkipDone() {
  while (current_ < tensors_.size() && written_ == tensors_[current_].bytes) {
    ++current_;
    written_ = 0;
  }
}

void SafetensorsWriter::Write(std::string_view name, std::span<const std::byte> chunk) {
  if (shards_ == 0) Plan();
  if (chunk.empty()) return;
  SkipDone();
  GANNET_ASSERT(current_ < tensors_.size() && tensors_[current_].name == name, "tensors written in the declared order");
  GANNET_ASSERT(static_cast<int64_t>(chunk.size()) <= tensors_[current_].bytes - written_,
                "no more bytes than the tensor's shape needs");
  if (written_ == 0) StartTensor();
  file_.write(reinterpret_cast<const char*>(chunk.data()), static_cast<std::streamsize>(chunk.size()));
  if (!file_) Fail(ShardName(open_shard_));
  written_ += static_cast<int64_t>(chunk.size());
}

void SafetensorsWriter::Finish() {
  if (shards_ == 0) Plan();
  SkipDone();
  GANNET_ASSERT(current_ == tensors_.size(), "every declared tensor written before Finish()");
  AdvanceTo(shards_ - 1);
  CloseShard();
  if (shards_ > 1) WriteIndex();
}

void SafetensorsWriter::WriteIndex() {
  int64_t total = 0;
  Json::Object weights;
  for (const Tensor& tensor : tensors_) {
    total += tensor.bytes;
    weights.push_back({tensor.name, Json(ShardName(tensor.shard).string())});
  }
  Json index;
  index.Set("metadata", Json{}).Set("total_size", total);
  index.Set("weight_map", Json(std::move(weights)));
  const std::string name = "model.safetensors.index.json";
  std::ofstream file(folder_ / name, std::ios::binary | std::ios::trunc);
  file << index.Dump(2) << '\n';
  file.close();
  if (!file) Fail(name);
}

std::filesystem::path SafetensorsWriter::ShardName(size_t shard) const {
  if (shards_ == 1) return "model.safetensors";
  return fmt::format("model-{:05}-of-{:05}.safetensors", shard + 1, shards_);
}

void SafetensorsWriter::Fail(const std::filesystem::path& file) const {
  RefuseFile((folder_ / file).string(), fmt::format("cannot be written: {}", std::strerror(errno)));
}

}  // namespace gannet
