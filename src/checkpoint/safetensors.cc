#include "checkpoint/safetensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <unordered_set>

namespace gannet {
namespace {

constexpr size_t kMaxTensors = 1'000'000;
constexpr size_t kMaxRank = 8;

constexpr BlockLayout kDtypes[] = {
    {"F32", 1, 4},     {"F16", 1, 2},     {"BF16", 1, 2},        {"F64", 1, 8},         {"C64", 1, 8},
    {"BOOL", 1, 1},    {"U8", 1, 1},      {"I8", 1, 1},          {"U16", 1, 2},         {"I16", 1, 2},
    {"U32", 1, 4},     {"I32", 1, 4},     {"U64", 1, 8},         {"I64", 1, 8},         {"F8_E4M3", 1, 1},
    {"F8_E5M2", 1, 1}, {"F8_E8M0", 1, 1}, {"F8_E4M3FNUZ", 1, 1}, {"F8_E5M2FNUZ", 1, 1}, {"F6_E2M3", 4, 3},
    {"F6_E3M2", 4, 3}, {"F4", 2, 1},
};

struct Entry {
  StoredTensor tensor;
  const BlockLayout* layout = nullptr;
  int64_t begin = 0;  // bytes into the data
  int64_t end = 0;
};

// Reads the header's fixed grammar directly. A general JSON value would hide repeated names, and hostile headers make
// one forty times their size.
class HeaderReader {
 public:
  HeaderReader(std::string_view file, std::string_view text) : file_(file), text_(text) {}

  std::vector<Entry> Read() {
    std::vector<Entry> entries;
    std::unordered_set<std::string> names;
    Members([&](std::string name) {
      if (name == "__metadata__") {
        Members([&](const std::string&) { String(); });
        return;
      }
      where_ = fmt::format("tensor {}", Quoted(name));
      if (!names.insert(name).second) Fail("is there twice");
      if (entries.size() == kMaxTensors) Fail(fmt::format("is one more than the {} allowed", kMaxTensors));
      entries.push_back(ReadEntry(std::move(name)));
      where_ = "the header";
    });
    SkipSpace();
    if (at_ != text_.size()) Fail("goes on after its closing brace");
    return entries;
  }

 private:
  Entry ReadEntry(std::string name) {
    Entry entry;
    entry.tensor.name = std::move(name);
    bool dtype = false, shape = false, offsets = false;
    Members([&](const std::string& key) {
      bool& seen = key == "dtype" ? dtype : key == "shape" ? shape : offsets;
      if (key != "dtype" && key != "shape" && key != "data_offsets") Fail("has the unknown field " + Quoted(key));
      if (std::exchange(seen, true)) Fail("has the field " + Quoted(key) + " twice");
      if (&seen == &dtype) {
        entry.tensor.dtype = String();
        entry.layout = FindSafetensorsDtype(entry.tensor.dtype);
        if (!entry.layout) Fail("has the unknown dtype " + Quoted(entry.tensor.dtype));
      } else if (&seen == &shape) {
        entry.tensor.shape = Sizes(kMaxRank);
      } else {
        const std::vector<int64_t> range = Sizes(2);
        if (range.size() != 2) Fail("needs two data_offsets");
        entry.begin = range[0];
        entry.end = range[1];
      }
    });
    if (!dtype) Fail("has no dtype");
    if (!shape) Fail("has no shape");
    if (!offsets) Fail("has no data_offsets");
    return entry;
  }

  template <typename Visit>
  void Members(Visit visit) {
    Expect('{');
    if (Accept('}')) return;
    do {
      std::string key = String();
      Expect(':');
      visit(std::move(key));
    } while (Accept(','));
    Expect('}');
  }

  std::vector<int64_t> Sizes(size_t max_count) {
    std::vector<int64_t> sizes;
    Expect('[');
    if (Accept(']')) return sizes;
    do {
      if (sizes.size() == max_count) Fail(fmt::format("has a list of more than {} numbers", max_count));
      sizes.push_back(Size());
    } while (Accept(','));
    Expect(']');
    return sizes;
  }

  int64_t Size() {
    SkipSpace();
    if (Peek() == '-') Fail("has a negative number");
    const size_t begin = at_;
    int64_t value = 0;
    for (; Peek() >= '0' && Peek() <= '9'; ++at_) {
      if (__builtin_mul_overflow(value, 10, &value) || __builtin_add_overflow(value, Peek() - '0', &value)) {
        Fail("has a number beyond 63 bits");
      }
    }
    const bool number = at_ > begin && (text_[begin] != '0' || at_ == begin + 1);
    if (!number || Peek() == '.' || Peek() == 'e' || Peek() == 'E') {
      Fail("has something else where a whole number belongs");
    }
    return value;
  }

  std::string String() {
    Expect('"');
    const size_t begin = at_;
    bool plain = true;
    for (; at_ < text_.size() && text_[at_] != '"'; ++at_) {
      const unsigned char c = static_cast<unsigned char>(text_[at_]);
      if (c == '\\') ++at_;
      if (c == '\\' || c < 0x20 || c > 0x7e) plain = false;
    }
    if (at_ >= text_.size()) Fail("has a string without an end");
    const std::string_view inside = text_.substr(begin, at_++ - begin);
    if (plain) return std::string(inside);
    const Result<Json> parsed = Json::Parse(text_.substr(begin - 1, inside.size() + 2), 1);
    if (!parsed.ok() || !parsed->is_string()) Fail("has a malformed string");
    return parsed->as_string();
  }

  void SkipSpace() {
    while (Peek() == ' ' || Peek() == '\n' || Peek() == '\r' || Peek() == '\t') ++at_;
  }
  char Peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  bool Accept(char c) {
    SkipSpace();
    if (Peek() != c) return false;
    ++at_;
    return true;
  }
  void Expect(char c) {
    if (!Accept(c)) Fail(fmt::format("is malformed, '{}' is missing", c));
  }
  [[noreturn]] void Fail(std::string_view what) const {
    RefuseFile(file_, fmt::format("{} {} (header byte {})", where_, what, at_));
  }

  std::string_view file_;
  std::string_view text_;
  size_t at_ = 0;
  std::string where_ = "the header";
};

// `file`'s data has `size` bytes and starts at byte `start` of the file.
void CheckEntry(std::string_view file, const Entry& entry, int64_t start, int64_t size) {
  const auto refuse = [&](std::string_view what) {
    RefuseFile(file, fmt::format("tensor {} {}", Quoted(entry.tensor.name), what));
  };
  const Result<int64_t> bytes = BytesOf(*entry.layout, entry.tensor.shape);
  if (!bytes.ok()) refuse(bytes.error().message);
  if (entry.begin > entry.end) refuse(fmt::format("ends at byte {} before it begins at {}", entry.end, entry.begin));
  if (entry.end > size) {
    refuse(fmt::format("ends at byte {} of the data, which has only {}: the file is truncated or its header is wrong",
                       entry.end, size));
  }
  if (entry.end - entry.begin != *bytes) {
    refuse(fmt::format("has {} bytes where its shape and dtype {} need {}", entry.end - entry.begin, entry.tensor.dtype,
                       *bytes));
  }
  const int64_t alignment = AlignmentOf(*entry.layout);
  if (*bytes > 0 && (start + entry.begin) % alignment != 0) {
    refuse(
        fmt::format("is unaligned: its data starts at byte {}, not at a multiple of {}; write the file again with "
                    "a current safetensors library",
                    start + entry.begin, alignment));
  }
}

}  // namespace

const BlockLayout* FindSafetensorsDtype(std::string_view dtype) {
  const auto found = std::find_if(std::begin(kDtypes), std::end(kDtypes),
                                  [&](const BlockLayout& layout) { return layout.dtype == dtype; });
  return found == std::end(kDtypes) ? nullptr : found;
}

std::vector<StoredTensor> ParseSafetensors(std::string_view name, std::span<const std::byte> bytes) {
  uint64_t header = 0;
  if (bytes.size() < sizeof(header)) {
    RefuseFile(name, fmt::format("has {} bytes, too few for a safetensors file", bytes.size()));
  }
  std::memcpy(&header, bytes.data(), sizeof(header));
  if (header > kMaxSafetensorsHeader) {
    RefuseFile(name, fmt::format("claims a header of {} bytes, more than the {} the safetensors format allows", header,
                                 kMaxSafetensorsHeader));
  }
  if (header > bytes.size() - sizeof(header)) {
    RefuseFile(name, fmt::format("claims a header of {} bytes but only {} follow: the file is truncated", header,
                                 bytes.size() - sizeof(header)));
  }
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()) + sizeof(header), header);
  std::vector<Entry> entries = HeaderReader(name, text).Read();

  const std::span<const std::byte> data = bytes.subspan(sizeof(header) + header);
  const int64_t start = static_cast<int64_t>(bytes.size() - data.size());
  const int64_t size = static_cast<int64_t>(data.size());
  for (const Entry& entry : entries) CheckEntry(name, entry, start, size);

  std::sort(entries.begin(), entries.end(),
            [](const Entry& a, const Entry& b) { return std::tie(a.begin, a.end) < std::tie(b.begin, b.end); });
  int64_t end = 0;
  for (size_t i = 0; i < entries.size(); ++i) {
    const std::string tensor = Quoted(entries[i].tensor.name);
    if (entries[i].begin < end) {
      RefuseFile(name, fmt::format("tensor {} overlaps tensor {}", tensor, Quoted(entries[i - 1].tensor.name)));
    }
    if (entries[i].begin > end) {
      RefuseFile(name,
                 fmt::format("the {} bytes before tensor {} belong to no tensor", entries[i].begin - end, tensor));
    }
    end = entries[i].end;
  }
  if (end != size) RefuseFile(name, fmt::format("the last {} bytes belong to no tensor", size - end));

  std::vector<StoredTensor> tensors;
  tensors.reserve(entries.size());
  for (Entry& entry : entries) {
    entry.tensor.data = data.subspan(static_cast<size_t>(entry.begin), static_cast<size_t>(entry.end - entry.begin));
    tensors.push_back(std::move(entry.tensor));
  }
  return tensors;
}

}  // namespace gannet
