#include "checkpoint/checkpoint.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <set>
#include <unordered_map>

#include "checkpoint/file_checks.h"
#include "checkpoint/formats/format.h"
#include "checkpoint/formats/siblings.h"
#include "checkpoint/gguf.h"
#include "checkpoint/quantization_claims.h"
#include "checkpoint/safetensors.h"

namespace gannet {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxConfigBytes = size_t{16} << 20;
constexpr size_t kMaxIndexBytes = size_t{128} << 20;
constexpr size_t kLongArray = 64;  // elements; longer ones stay out of config()
constexpr char kIndexName[] = "model.safetensors.index.json";

bool Exists(const fs::path& path) {
  std::error_code error;
  return fs::exists(path, error);
}

std::shared_ptr<const MappedFile> Map(const fs::path& path) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (!fs::exists(status)) RefuseFile(path.string(), "is missing");
  if (!fs::is_regular_file(status)) RefuseFile(path.string(), "is not a regular file");
  if (fs::file_size(path, error) == 0 && !error) RefuseFile(path.string(), "is empty");
  return MappedFile::Open(path);
}

Json ReadObject(const fs::path& path, size_t max_bytes) {
  std::error_code error;
  if (!fs::is_regular_file(path, error)) RefuseFile(path.string(), "is missing or not a regular file");
  const uintmax_t size = fs::file_size(path, error);
  if (!error && size > max_bytes) {
    RefuseFile(path.string(), fmt::format("has {} bytes, more than the {} allowed", size, max_bytes));
  }
  Result<Json> json = Json::Parse(ReadTextFile(path, max_bytes));
  if (!json.ok()) RefuseFile(path.string(), json.error().message);
  if (!json->is_object()) RefuseFile(path.string(), fmt::format("holds {}, not an object", json->type_name()));
  return std::move(json).value();
}

// The folder's one safetensors file when there is no index.
fs::path OnlySafetensors(const fs::path& folder) {
  std::set<fs::path> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    if (entry.path().extension() == ".safetensors") found.insert(entry.path());
  }
  if (error) RefuseFile(folder.string(), fmt::format("cannot be listed: {}", error.message()));
  if (found.empty()) RefuseFile(folder.string(), "holds no *.safetensors file; download the model's weights into it");
  if (found.contains(folder / "model.safetensors")) return folder / "model.safetensors";
  if (found.size() > 1) {
    RefuseFile(folder.string(), fmt::format("holds {} *.safetensors files but no {}", found.size(), kIndexName));
  }
  return *found.begin();
}

}  // namespace

std::shared_ptr<const Checkpoint> Checkpoint::Open(const fs::path& path) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (!fs::exists(status)) {
    RefuseFile(path.string(), "does not exist; give a folder with config.json and *.safetensors, or a .gguf file");
  }
  const std::shared_ptr<Checkpoint> checkpoint(new Checkpoint);
  checkpoint->path_ = path;
  if (fs::is_directory(status)) {
    checkpoint->LoadFolder();
  } else {
    checkpoint->LoadGguf();
  }
  return checkpoint;
}

void Checkpoint::LoadFolder() {
  config_ = ReadObject(path_ / "config.json", kMaxConfigBytes);
  if (Exists(path_ / kIndexName)) {
    AddShards(path_ / kIndexName);
  } else {
    AddSafetensors(OnlySafetensors(path_));
  }
  notices_ = JoinScaledTensors(path_.string(), config_, tensors_);
  for (std::string& sentence : CompareWithClaims(config_, tensors_)) notices_.push_back(std::move(sentence));
}

std::vector<std::string> Checkpoint::AddSafetensors(const fs::path& path) {
  const std::shared_ptr<const MappedFile> file = Map(path);
  std::vector<std::string> names;
  for (StoredTensor& tensor : ParseSafetensors(path.string(), file->bytes())) {
    tensor.file = file;
    names.push_back(tensor.name);
    const auto [there, added] = tensors_.try_emplace(tensor.name, std::move(tensor));
    if (!added) {
      RefuseFile(path.string(), fmt::format("tensor {} is in {} too", Quoted(there->first),
                                            there->second.file->path().filename().string()));
    }
  }
  return names;
}

void Checkpoint::AddShards(const fs::path& index) {
  const Json json = ReadObject(index, kMaxIndexBytes);
  const Json* map = json.Find("weight_map");
  if (!map || !map->is_object() || map->as_object().empty()) {
    RefuseFile(index.string(), "has no weight_map object that names the shards");
  }
  std::unordered_map<std::string, std::string> shard_of;
  std::set<std::string> shards;
  for (const Json::Member& member : map->as_object()) {
    const std::string shard = member.value.is_string() ? member.value.as_string() : "";
    if (!shard.ends_with(".safetensors") || shard.find('/') != std::string::npos ||
        shard.find('\0') != std::string::npos) {
      RefuseFile(index.string(), fmt::format("tensor {} needs the name of a .safetensors file in this folder, not {}",
                                             Quoted(member.key), Quoted(member.value.Dump())));
    }
    shard_of.emplace(member.key, shard);
    shards.insert(shard);
  }
  const std::string whole = "model.safetensors";
  if (Exists(path_ / whole) && !shards.contains(whole)) {
    RefuseFile(path_.string(),
               fmt::format("holds both {} and {}, which does not name it; remove one", whole, kIndexName));
  }
  for (const std::string& shard : shards) {
    if (!Exists(path_ / shard)) {
      RefuseFile((path_ / shard).string(), fmt::format("is missing, though {} names it", kIndexName));
    }
  }
  for (const std::string& shard : shards) {
    for (const std::string& name : AddSafetensors(path_ / shard)) {
      const auto found = shard_of.find(name);
      if (found != shard_of.end() && found->second == shard) continue;
      const std::string place = found == shard_of.end() ? "in no shard" : "in " + found->second;
      RefuseFile((path_ / shard).string(),
                 fmt::format("tensor {} is here but {} has it {}", Quoted(name), kIndexName, place));
    }
  }
  for (const auto& [name, shard] : shard_of) {
    if (Find(name)) continue;
    RefuseFile((path_ / shard).string(),
               fmt::format("tensor {} is missing, though {} has it here", Quoted(name), kIndexName));
  }
}

void Checkpoint::LoadGguf() {
  is_gguf_ = true;
  const std::shared_ptr<const MappedFile> file = Map(path_);
  GgufFile gguf = ParseGguf(path_.string(), file->bytes());
  metadata_ = std::move(gguf.metadata);
  Json::Object config;
  for (const Json::Member& member : metadata_.as_object()) {
    if (!member.value.is_array() || member.value.as_array().size() <= kLongArray) config.push_back(member);
  }
  config_ = Json(std::move(config));
  for (StoredTensor& tensor : gguf.tensors) {
    tensor.file = file;
    std::string name = tensor.name;
    tensors_.emplace(std::move(name), std::move(tensor));
  }
}

const StoredTensor* Checkpoint::Find(std::string_view name) const {
  const auto found = tensors_.find(name);
  return found == tensors_.end() ? nullptr : &found->second;
}

Weight Checkpoint::WeightOf(const StoredTensor& tensor) const { return MakeWeight(tensor); }

std::string Checkpoint::Census() const {
  struct Share {
    int64_t bytes = 0;
    int64_t tensors = 0;
  };
  std::map<std::string_view, Share> shares;
  for (const auto& [name, tensor] : tensors_) {
    Share& share = shares[tensor.dtype];
    share.bytes += tensor.bytes();
    ++share.tensors;
  }
  std::vector<std::pair<std::string_view, Share>> sorted(shares.begin(), shares.end());
  std::ranges::stable_sort(sorted, [](const auto& a, const auto& b) { return a.second.bytes > b.second.bytes; });
  std::string text;
  for (const auto& [dtype, share] : sorted) {
    text += fmt::format("{}{} {} ({:.2f} GB)", text.empty() ? "" : ", ", share.tensors, dtype,
                        static_cast<double>(share.bytes) / 1e9);
  }
  return text;
}

Reading Checkpoint::MeasureReading() const {
  constexpr size_t kSample = size_t{16} << 20;
  constexpr size_t kStep = 4096;  // no page is smaller
  Reading reading;
  int64_t most = 0;
  std::span<const std::byte> sample;  // the start of the tensor with the most to read
  for (const auto& [name, tensor] : tensors_) {
    const int64_t cold = MappedFile::ColdBytes(tensor.data);
    reading.cold_bytes += cold;
    if (cold <= most) continue;
    most = cold;
    sample = tensor.data.first(std::min(kSample, tensor.data.size()));
  }
  const int64_t cold_sample = MappedFile::ColdBytes(sample);
  if (cold_sample == 0) return reading;
  const auto begin = std::chrono::steady_clock::now();
  MappedFile::WillNeed(sample);
  volatile std::byte sink{};
  for (size_t at = 0; at < sample.size(); at += kStep) sink = sample[at];
  static_cast<void>(sink);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  reading.seconds = took.count() * static_cast<double>(reading.cold_bytes) / static_cast<double>(cold_sample);
  return reading;
}

int64_t Checkpoint::total_bytes() const {
  int64_t bytes = 0;
  for (const auto& [name, tensor] : tensors_) bytes += tensor.bytes();
  return bytes;
}

}  // namespace gannet
