#include "checkpoint/gguf.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <string>

#include "base/result.h"

namespace gannet {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

enum : uint32_t { kU8, kI8, kU16, kI16, kU32, kI32, kF32, kBool, kString, kArray, kU64, kI64, kF64 };

template <typename T>
std::string Raw(T value) {
  std::string bytes(sizeof(T), '\0');
  std::memcpy(bytes.data(), &value, sizeof(T));
  return bytes;
}
std::string Text(std::string_view text) { return Raw<uint64_t>(text.size()) + std::string(text); }
std::string Key(std::string_view name, uint32_t type, std::string_view value) {
  return Text(name) + Raw(type) + std::string(value);
}
std::string Tensor(std::string_view name, std::vector<uint64_t> dimensions, uint32_t type, uint64_t offset) {
  std::string bytes = Text(name) + Raw(static_cast<uint32_t>(dimensions.size()));
  for (const uint64_t dimension : dimensions) bytes += Raw(dimension);
  return bytes + Raw(type) + Raw(offset);
}
std::string Header(uint64_t tensors, uint64_t keys, uint32_t version = 3) {
  return "GGUF" + Raw(version) + Raw(tensors) + Raw(keys);
}
std::string File(const std::vector<std::string>& keys, const std::vector<std::string>& tensors, size_t data_bytes) {
  std::string file = Header(tensors.size(), keys.size());
  for (const std::string& key : keys) file += key;
  for (const std::string& tensor : tensors) file += tensor;
  file.resize((file.size() + 31) / 32 * 32);
  return file.append(data_bytes, '\1');
}

GgufFile Parse(const std::string& file) { return ParseGguf("dir/x.gguf", std::as_bytes(std::span(file))); }
// Parses a copy that ends where its memory ends: a string's final zero would hide a read beyond it from ASan.
std::string RefusalOf(const std::string& file) {
  const auto raw = std::as_bytes(std::span(file));
  const std::vector<std::byte> bytes(raw.begin(), raw.end());
  try {
    ParseGguf("dir/x.gguf", bytes);
  } catch (const LoadError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(Gguf, ReversesDimensionsAndPlacesData) {
  const std::string file = File({}, {Tensor("a", {3, 2}, 0, 32), Tensor("b", {32}, 2, 0)}, 56);
  const GgufFile gguf = Parse(file);
  ASSERT_EQ(gguf.tensors.size(), 2u);
  EXPECT_EQ(gguf.tensors[0].name, "a");
  EXPECT_EQ(gguf.tensors[0].shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(gguf.tensors[0].data.size(), 24u);
  EXPECT_EQ(reinterpret_cast<const char*>(gguf.tensors[0].data.data()), file.data() + file.size() - 24);
  EXPECT_EQ(gguf.tensors[1].dtype, "Q4_0");
  EXPECT_EQ(gguf.tensors[1].data.size(), 18u);
}

TEST(Gguf, HonoursTheAlignment) {
  const std::string key = Key("general.alignment", kU32, Raw<uint32_t>(64));
  const std::string head = Header(1, 1) + key + Tensor("a", {2}, 0, 64);
  std::string file = head;
  file.resize((head.size() + 63) / 64 * 64 + 64);
  file += Raw(1.5f) + Raw(2.5f);
  const GgufFile gguf = Parse(file);
  float value = 0;
  std::memcpy(&value, gguf.tensors[0].data.data(), 4);
  EXPECT_EQ(value, 1.5f);
}

TEST(Gguf, ReadsVersion2) {
  std::string file = Header(1, 0, 2) + Tensor("a", {2}, 30, 0);
  file.resize((file.size() + 31) / 32 * 32 + 4);
  EXPECT_EQ(Parse(file).version, 2u);
  EXPECT_EQ(Parse(file).tensors[0].dtype, "BF16");
}

TEST(Gguf, KnowsTensorTypesThatNoFormatReads) {
  const GgufFile gguf = Parse(File({}, {Tensor("a", {256, 2}, 10, 0)}, 168));
  EXPECT_EQ(gguf.tensors[0].dtype, "Q2_K");
}

TEST(Gguf, RefusesWhatLies) {
  const uint64_t huge = uint64_t{1} << 62;
  const std::string one = Tensor("a", {8}, 0, 0);
  const auto key = [](std::string_view rest) { return Header(0, 1) + Text("k") + std::string(rest); };
  const auto array = [&](uint32_t type, uint64_t count, std::string_view rest) {
    return key(Raw<uint32_t>(kArray) + Raw(type) + Raw(count) + std::string(rest));
  };
  const struct {
    std::string file;
    std::string sentence;
  } cases[] = {
      {"", "is not a GGUF file"},
      {"GGU", "is not a GGUF file"},
      {"GGML" + Raw<uint32_t>(3), "is not a GGUF file"},
      {"GGUF", "the header needs 4 bytes at byte 4, beyond the end of the file"},
      {Header(0, 0, 1), "is GGUF version 1; versions 2 and 3 are supported"},
      {Header(0, 0, 4), "is GGUF version 4"},
      {Header(0, 0, 0), "is GGUF version 0"},
      {Header(0, 0, 0x03000000), "is a big-endian GGUF file"},
      {Header(0, UINT64_MAX), "claims 18446744073709551615 metadata keys, more than the rest of the file can hold"},
      {Header(UINT64_MAX, 0), "claims 18446744073709551615 tensors, more than the rest of the file can hold"},
      {Header(1'000'001, 0) + std::string(33'000'000, '\0'), "claims 1000001 tensors, more than the 1000000 allowed"},
      {Header(0, 1) + Raw(huge) + std::string(16, 'x'), "metadata key number 0 needs 4611686018427387904 bytes"},
      {Header(0, 1) + Text(std::string(70'000, 'k')) + Raw<uint32_t>(kU8) + "x", "has 70000 bytes, more than 65535"},
      {key(Raw<uint32_t>(13) + "xxxx"), "metadata key \"k\" has the unknown value type 13"},
      {key(Raw<uint32_t>(kBool) + "\2"), "metadata key \"k\" is a boolean of value 2"},
      {key(Raw<uint32_t>(kU32) + "xxx"), "metadata key \"k\" needs 4 bytes at byte 37, beyond the end"},
      {key(Raw<uint32_t>(kString) + Raw(huge)), "metadata key \"k\" needs 4611686018427387904 bytes"},
      {array(kArray, 1, Raw<uint32_t>(kU8) + Raw<uint64_t>(0)), "metadata key \"k\" is an array of arrays"},
      {array(99, 1, "x"), "metadata key \"k\" is an array of the unknown value type 99"},
      {array(kU8, huge, "x"), "metadata key \"k\" claims 4611686018427387904 array elements"},
      {array(kF64, 2, std::string(15, 'x')), "metadata key \"k\" claims 2 array elements"},
      {array(kString, 1, Raw<uint64_t>(1)), "metadata key \"k\" needs 1 bytes"},
      {array(kU8, 8'000'001, std::string(8'000'001, 'x')), "takes the metadata beyond 8000000 array elements"},
      {File({Key("k", kU8, "x"), Key("k", kU8, "x")}, {}, 0), "metadata key \"k\" is there twice"},
      {File({Key("split.count", kU16, Raw<uint16_t>(3))}, {}, 0), "is one part of a model split in 3 files; join them"},
      {File({Key("general.alignment", kU32, Raw<uint32_t>(0))}, {}, 0), "\"general.alignment\" is 0; it must be"},
      {File({Key("general.alignment", kU32, Raw<uint32_t>(48))}, {}, 0), "\"general.alignment\" is 48; it must be"},
      {File({Key("general.alignment", kU32, Raw<uint32_t>(4))}, {}, 0), "\"general.alignment\" is 4; it must be"},
      {File({Key("general.alignment", kI32, Raw<int32_t>(-32))}, {}, 0), "\"general.alignment\" is -32; it must be"},
      {File({Key("general.alignment", kString, Text("x"))}, {}, 0), "\"general.alignment\" is \"x\"; it must be"},
      {Header(1, 0) + std::string(32, '\0'), "tensor \"\" has 0 dimensions; 1 to 4 are possible"},
      {File({}, {Tensor("a", {1, 1, 1, 1, 1}, 0, 0)}, 4), "tensor \"a\" has 5 dimensions"},
      {File({}, {Tensor("a", {0}, 0, 0)}, 4), "tensor \"a\" has a dimension of 0"},
      {File({}, {Tensor("a", {UINT64_MAX}, 0, 0)}, 4), "tensor \"a\" has a dimension of 18446744073709551615"},
      {File({}, {Tensor("a", {1u << 31, 1u << 31, 4}, 0, 0)}, 4), "tensor \"a\" has the shape [4, 2147483648, 2147"},
      {File({}, {Tensor("a", {huge}, 0, 0)}, 4), "whose size overflows"},
      {File({}, {Tensor("a", {8}, 4, 0)}, 32), "tensor \"a\" has the unknown ggml type 4"},
      {File({}, {Tensor("a", {8}, 1000, 0)}, 32), "tensor \"a\" has the unknown ggml type 1000"},
      {File({}, {Tensor("a", {48, 2}, 8, 0)}, 102),
       "has rows of 48 values, not a multiple of the 32 in a block of Q8_0"},
      {File({}, {Tensor("a", {128, 2}, 12, 0)}, 144), "not a multiple of the 256 in a block of Q4_K"},
      {File({}, {Tensor("a", {8}, 0, 8)}, 64), "tensor \"a\" is unaligned: its offset 8 is not a multiple of 32"},
      {File({}, {one, Tensor("a", {8}, 0, 32)}, 64), "tensor \"a\" is there twice"},
      {File({}, {one, Tensor("b", {8}, 0, 0)}, 64), "overlaps tensor"},
      {File({}, {Tensor("a", {9}, 0, 0), Tensor("b", {8}, 0, 32)}, 64), "tensor \"b\" overlaps tensor \"a\""},
      {File({}, {one}, 31),
       "tensor \"a\" takes 32 bytes from byte 0 of the data, which has only 31: the file is trunc"},
      {File({}, {Tensor("a", {8}, 0, 32)}, 32),
       "tensor \"a\" takes 32 bytes from byte 32 of the data, which has only 32"},
      {File({}, {Tensor("a", {8}, 0, ~uint64_t{31})}, 64),
       "tensor \"a\" takes 32 bytes from byte 18446744073709551584"},
      {Header(1, 0) + one, "of the data, which has only 0"},
  };
  for (const auto& each : cases) {
    EXPECT_THAT(RefusalOf(each.file),
                AllOf(StartsWith("checkpoint: dir/x.gguf: "), HasSubstr(each.sentence), Not(HasSubstr("\n"))));
  }
}

TEST(Gguf, SurvivesEveryTruncationAndEveryFlippedBitOfItsSeeds) {
  for (const auto& seed : std::filesystem::directory_iterator(GANNET_SOURCE_DIR "/tests/checkpoint/fuzz/gguf")) {
    const std::string file = ReadTextFile(seed.path());
    EXPECT_EQ(RefusalOf(file), "accepted") << seed.path();
    for (size_t size = 0; size < file.size(); ++size) RefusalOf(file.substr(0, size));
    for (size_t bit = 0; bit < file.size() * 8; ++bit) {
      std::string flipped = file;
      flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << bit % 8));
      RefusalOf(flipped);
    }
  }
}

// Written by the gguf package (tools/goldens/gguf_rows.py).
TEST(Gguf, ReadsEveryValueTypeOfTheGgufPackage) {
  const auto checkpoint = Checkpoint::Open(GANNET_SOURCE_DIR "/tests/checkpoint/rows.gguf");
  EXPECT_TRUE(checkpoint->is_gguf());
  const Json& all = checkpoint->metadata();
  EXPECT_EQ(*all.Find("general.architecture"), Json("golden"));
  EXPECT_EQ(*all.Find("test.u8"), Json(200));
  EXPECT_EQ(*all.Find("test.i8"), Json(-100));
  EXPECT_EQ(*all.Find("test.u16"), Json(60000));
  EXPECT_EQ(*all.Find("test.i16"), Json(-30000));
  EXPECT_EQ(all.Find("test.u32")->as_int(), 4000000000);
  EXPECT_EQ(all.Find("test.i32")->as_int(), -2000000000);
  EXPECT_EQ(all.Find("test.f32")->as_double(), static_cast<double>(0.1f));
  EXPECT_EQ(all.Find("test.u64")->as_double(), 0x1p64);
  EXPECT_TRUE(all.Find("test.u64")->is_integer());
  EXPECT_EQ(all.Find("test.i64")->as_int(), INT64_MIN);
  EXPECT_EQ(all.Find("test.f64")->as_double(), 0.1);
  EXPECT_EQ(*all.Find("test.bool"), Json(true));
  EXPECT_EQ(*all.Find("test.string"), Json("grüß\n"));
  EXPECT_EQ(all.Find("test.short")->as_array().size(), 64u);
  EXPECT_EQ(all.Find("test.long")->as_array().at(64), Json(64));
  EXPECT_EQ(*all.Find("test.bytes"), Json(Json::Array{"\xff\xfe", "", "é"}));
  EXPECT_NE(checkpoint->config().Find("test.short"), nullptr);
  EXPECT_EQ(checkpoint->config().Find("test.long"), nullptr);
  EXPECT_EQ(checkpoint->config().as_object().size(), all.as_object().size() - 1);
  EXPECT_EQ(checkpoint->tensors().size(), 24u);
}

}  // namespace
}  // namespace gannet
