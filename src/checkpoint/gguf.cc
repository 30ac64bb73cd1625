#include "checkpoint/gguf.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <unordered_set>

namespace gannet {
namespace {

constexpr uint64_t kMaxHeader = uint64_t{512} << 20;  // bytes of metadata and tensor list
constexpr uint64_t kMaxElements = 8'000'000;          // of all arrays together
constexpr uint64_t kMaxTensors = 1'000'000;
constexpr uint64_t kMaxKeyBytes = 65'535;
constexpr uint32_t kMaxRank = 4;
constexpr uint64_t kDefaultAlignment = 32;
constexpr uint64_t kMaxAlignment = uint64_t{1} << 20;

enum ValueType : uint32_t { kU8, kI8, kU16, kI16, kU32, kI32, kF32, kBool, kString, kArray, kU64, kI64, kF64, kTypes };
// The fewest bytes a value of each type takes.
constexpr std::array<uint64_t, kTypes> kMinBytes = {1, 1, 2, 2, 4, 4, 4, 1, 8, 12, 8, 8, 8};

// By number. The gaps are types that were withdrawn.
struct GgmlType {
  uint32_t number;
  BlockLayout layout;
};
constexpr GgmlType kGgmlTypes[] = {
    {0, {"F32", 1, 4}},         {1, {"F16", 1, 2}},         {2, {"Q4_0", 32, 18}},      {3, {"Q4_1", 32, 20}},
    {6, {"Q5_0", 32, 22}},      {7, {"Q5_1", 32, 24}},      {8, {"Q8_0", 32, 34}},      {9, {"Q8_1", 32, 36}},
    {10, {"Q2_K", 256, 84}},    {11, {"Q3_K", 256, 110}},   {12, {"Q4_K", 256, 144}},   {13, {"Q5_K", 256, 176}},
    {14, {"Q6_K", 256, 210}},   {15, {"Q8_K", 256, 292}},   {16, {"IQ2_XXS", 256, 66}}, {17, {"IQ2_XS", 256, 74}},
    {18, {"IQ3_XXS", 256, 98}}, {19, {"IQ1_S", 256, 50}},   {20, {"IQ4_NL", 32, 18}},   {21, {"IQ3_S", 256, 110}},
    {22, {"IQ2_S", 256, 82}},   {23, {"IQ4_XS", 256, 136}}, {24, {"I8", 1, 1}},         {25, {"I16", 1, 2}},
    {26, {"I32", 1, 4}},        {27, {"I64", 1, 8}},        {28, {"F64", 1, 8}},        {29, {"IQ1_M", 256, 56}},
    {30, {"BF16", 1, 2}},       {34, {"TQ1_0", 256, 54}},   {35, {"TQ2_0", 256, 66}},   {39, {"MXFP4", 32, 17}},
    {40, {"NVFP4", 64, 36}},    {41, {"Q1_0", 128, 18}},
};

struct Entry {
  StoredTensor tensor;
  uint64_t begin = 0;  // bytes into the data
  uint64_t bytes = 0;
};

class GgufReader {
 public:
  GgufReader(std::string_view file, std::span<const std::byte> bytes) : file_(file), bytes_(bytes) {}

  GgufFile Read() {
    GgufFile gguf;
    gguf.version = ReadVersion();
    const uint64_t tensor_count = Take<uint64_t>();
    const uint64_t key_count = Take<uint64_t>();
    CheckCount(key_count, 13, "metadata keys");
    CheckCount(tensor_count, 32, "tensors");
    if (tensor_count > kMaxTensors) {
      Fail(fmt::format("claims {} tensors, more than the {} allowed", tensor_count, kMaxTensors));
    }
    ReadMetadata(key_count, gguf.metadata);
    RefuseSplit(gguf.metadata);
    const uint64_t alignment = AlignmentFrom(gguf.metadata);
    std::vector<Entry> entries = ReadTensors(tensor_count, alignment);
    const uint64_t start = (at_ + alignment - 1) / alignment * alignment;
    Place(entries, start);
    for (Entry& entry : entries) gguf.tensors.push_back(std::move(entry.tensor));
    return gguf;
  }

 private:
  uint32_t ReadVersion() {
    const bool gguf = bytes_.size() >= 4 && std::memcmp(bytes_.data(), "GGUF", 4) == 0;
    if (!gguf)
      RefuseFile(file_, "is not a GGUF file; give a .gguf file, or a folder with config.json and *.safetensors");
    at_ = 4;
    const uint32_t version = Take<uint32_t>();
    if (version != 0 && (version & 0xffffu) == 0)
      RefuseFile(file_, "is a big-endian GGUF file, which is not supported");
    if (version < 2 || version > 3) {
      RefuseFile(file_, fmt::format("is GGUF version {}; versions 2 and 3 are supported", version));
    }
    return version;
  }

  void ReadMetadata(uint64_t key_count, Json& metadata) {
    Json::Object members;
    std::unordered_set<std::string> keys;
    for (uint64_t i = 0; i < key_count; ++i) {
      where_ = fmt::format("metadata key number {}", i);
      std::string key = String();
      if (key.size() > kMaxKeyBytes) Fail(fmt::format("has {} bytes, more than {}", key.size(), kMaxKeyBytes));
      where_ = fmt::format("metadata key {}", Quoted(key));
      if (!keys.insert(key).second) Fail("is there twice");
      members.push_back({std::move(key), Value(Take<uint32_t>())});
    }
    metadata = Json(std::move(members));
  }

  Json Value(uint32_t type) {
    switch (type) {
      case kU8:
        return static_cast<int64_t>(Take<uint8_t>());
      case kI8:
        return static_cast<int64_t>(Take<int8_t>());
      case kU16:
        return static_cast<int64_t>(Take<uint16_t>());
      case kI16:
        return static_cast<int64_t>(Take<int16_t>());
      case kU32:
        return static_cast<int64_t>(Take<uint32_t>());
      case kI32:
        return static_cast<int64_t>(Take<int32_t>());
      case kI64:
        return Take<int64_t>();
      case kU64: {
        const uint64_t value = Take<uint64_t>();
        return value <= static_cast<uint64_t>(INT64_MAX) ? Json(static_cast<int64_t>(value)) : Json(value);
      }
      case kF32:
        return static_cast<double>(Take<float>());
      case kF64:
        return Take<double>();
      case kBool: {
        const uint8_t value = Take<uint8_t>();
        if (value > 1) Fail(fmt::format("is a boolean of value {}", value));
        return value == 1;
      }
      case kString:
        return String();
      case kArray:
        return Array();
      default:
        Fail(fmt::format("has the unknown value type {}", type));
    }
  }

  Json Array() {
    const uint32_t type = Take<uint32_t>();
    const uint64_t count = Take<uint64_t>();
    if (type == kArray) Fail("is an array of arrays, which is not supported");
    if (type >= kTypes) Fail(fmt::format("is an array of the unknown value type {}", type));
    if (count > (bytes_.size() - at_) / kMinBytes[type]) {
      Fail(fmt::format("claims {} array elements, more than the rest of the file can hold", count));
    }
    if (count > kMaxElements - elements_) {
      Fail(fmt::format("takes the metadata beyond {} array elements", kMaxElements));
    }
    elements_ += count;
    Json::Array values;
    values.reserve(count);
    for (uint64_t i = 0; i < count; ++i) values.push_back(Value(type));
    return values;
  }

  void RefuseSplit(const Json& metadata) {
    const Json* count = metadata.Find("split.count");
    if (!count || count->as_int().value_or(2) <= 1) return;
    RefuseFile(file_, fmt::format("is one part of a model split in {} files; join them with llama-gguf-split --merge",
                                  count->Dump()));
  }

  uint64_t AlignmentFrom(const Json& metadata) {
    const Json* given = metadata.Find("general.alignment");
    if (!given) return kDefaultAlignment;
    const uint64_t alignment = static_cast<uint64_t>(given->as_int().value_or(0));
    if (alignment < 8 || alignment > kMaxAlignment || !std::has_single_bit(alignment)) {
      RefuseFile(file_, fmt::format("metadata key \"general.alignment\" is {}; it must be a power of two from 8 to {}",
                                    given->Dump().substr(0, 80), kMaxAlignment));
    }
    return alignment;
  }

  std::vector<Entry> ReadTensors(uint64_t tensor_count, uint64_t alignment) {
    std::vector<Entry> entries;
    std::unordered_set<std::string> names;
    for (uint64_t i = 0; i < tensor_count; ++i) {
      where_ = fmt::format("tensor number {}", i);
      entries.push_back(ReadTensor());
      if (!names.insert(entries.back().tensor.name).second) Fail("is there twice");
      if (entries.back().begin % alignment != 0) {
        Fail(fmt::format("is unaligned: its offset {} is not a multiple of {}", entries.back().begin, alignment));
      }
    }
    return entries;
  }

  Entry ReadTensor() {
    Entry entry;
    entry.tensor.name = String();
    where_ = fmt::format("tensor {}", Quoted(entry.tensor.name));
    const uint32_t rank = Take<uint32_t>();
    if (rank < 1 || rank > kMaxRank) Fail(fmt::format("has {} dimensions; 1 to {} are possible", rank, kMaxRank));
    for (uint32_t d = 0; d < rank; ++d) {
      const uint64_t size = Take<uint64_t>();
      if (size == 0 || size > static_cast<uint64_t>(INT64_MAX)) Fail(fmt::format("has a dimension of {}", size));
      entry.tensor.shape.insert(entry.tensor.shape.begin(), static_cast<int64_t>(size));
    }
    const uint32_t type = Take<uint32_t>();
    const BlockLayout* layout = FindGgmlType(type);
    if (!layout) Fail(fmt::format("has the unknown ggml type {}", type));
    entry.tensor.dtype = layout->dtype;
    const Result<int64_t> bytes = BytesOf(*layout, entry.tensor.shape);
    if (!bytes.ok()) Fail(bytes.error().message);
    entry.bytes = static_cast<uint64_t>(*bytes);
    entry.begin = Take<uint64_t>();
    return entry;
  }

  // Gives each tensor its bytes; the data starts at byte `start`.
  void Place(std::vector<Entry>& entries, uint64_t start) {
    const uint64_t size = bytes_.size() > start ? bytes_.size() - start : 0;
    std::vector<const Entry*> by_offset;
    for (Entry& entry : entries) {
      if (entry.begin > size || entry.bytes > size - entry.begin) {
        RefuseFile(file_, fmt::format("tensor {} takes {} bytes from byte {} of the data, which has only {}: the file "
                                      "is truncated or its header is wrong",
                                      Quoted(entry.tensor.name), entry.bytes, entry.begin, size));
      }
      entry.tensor.data = bytes_.subspan(start + entry.begin, entry.bytes);
      by_offset.push_back(&entry);
    }
    std::sort(by_offset.begin(), by_offset.end(), [](const Entry* a, const Entry* b) { return a->begin < b->begin; });
    for (size_t i = 1; i < by_offset.size(); ++i) {
      if (by_offset[i]->begin < by_offset[i - 1]->begin + by_offset[i - 1]->bytes) {
        RefuseFile(file_, fmt::format("tensor {} overlaps tensor {}", Quoted(by_offset[i]->tensor.name),
                                      Quoted(by_offset[i - 1]->tensor.name)));
      }
    }
  }

  template <typename T>
  T Take() {
    T value;
    std::memcpy(&value, TakeBytes(sizeof(T)).data(), sizeof(T));
    return value;
  }

  std::string String() {
    const std::span<const std::byte> text = TakeBytes(Take<uint64_t>());
    return std::string(reinterpret_cast<const char*>(text.data()), text.size());
  }

  std::span<const std::byte> TakeBytes(uint64_t count) {
    if (count > bytes_.size() - at_) {
      Fail(fmt::format("needs {} bytes at byte {}, beyond the end of the file", count, at_));
    }
    if (count > kMaxHeader - at_) Fail(fmt::format("lies beyond the {} bytes allowed for metadata", kMaxHeader));
    const std::span<const std::byte> taken = bytes_.subspan(at_, count);
    at_ += count;
    return taken;
  }

  // `min_bytes`: the fewest that one of them takes in the file.
  void CheckCount(uint64_t count, uint64_t min_bytes, std::string_view what) const {
    if (count <= (bytes_.size() - at_) / min_bytes) return;
    Fail(fmt::format("claims {} {}, more than the rest of the file can hold", count, what));
  }

  [[noreturn]] void Fail(std::string_view what) const { RefuseFile(file_, fmt::format("{} {}", where_, what)); }

  std::string_view file_;
  std::span<const std::byte> bytes_;
  uint64_t at_ = 0;
  uint64_t elements_ = 0;
  std::string where_ = "the header";
};

}  // namespace

const BlockLayout* FindGgmlType(uint32_t type) {
  const auto found = std::find_if(std::begin(kGgmlTypes), std::end(kGgmlTypes),
                                  [&](const GgmlType& each) { return each.number == type; });
  return found == std::end(kGgmlTypes) ? nullptr : &found->layout;
}

GgufFile ParseGguf(std::string_view name, std::span<const std::byte> bytes) { return GgufReader(name, bytes).Read(); }

}  // namespace gannet
