#include "checkpoint/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <string>

#include "base/mapped_file.h"
#include "base/result.h"

namespace gannet {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

std::string File(std::string_view header, size_t data_bytes, uint64_t claimed) {
  std::string file(8, '\0');
  std::memcpy(file.data(), &claimed, 8);
  file += header;
  file.append(data_bytes, '\1');
  return file;
}
// The header padded with spaces to 8 bytes, as the format asks.
std::string File(std::string header, size_t data_bytes) {
  header.resize((header.size() + 7) / 8 * 8, ' ');
  return File(header, data_bytes, header.size());
}

std::vector<StoredTensor> Parse(const std::string& file) {
  return ParseSafetensors("dir/x.safetensors", std::as_bytes(std::span(file)));
}
// Parses a copy that ends where its memory ends: a string's final zero would hide a read beyond it from ASan.
std::string RefusalOf(const std::string& file) {
  const auto raw = std::as_bytes(std::span(file));
  const std::vector<std::byte> bytes(raw.begin(), raw.end());
  try {
    ParseSafetensors("dir/x.safetensors", bytes);
  } catch (const LoadError& error) {
    return error.what();
  }
  return "accepted";
}

std::string Tensor(std::string_view name, std::string_view dtype, std::string_view shape, std::string_view offsets) {
  std::string text = "\"";
  text.append(name).append("\":{\"dtype\":\"").append(dtype).append("\",\"shape\":").append(shape);
  return text.append(",\"data_offsets\":").append(offsets).append("}");
}

TEST(Safetensors, ReadsTensorsInAnyOrderOfFieldsAndData) {
  const std::string file =
      File(R"( { "b" : {"shape":[2], "data_offsets":[8,16], "dtype":"F32"}, "__metadata__":{"a":"b"},)"
           R"("\u00e9":{"dtype":"BF16","shape":[2,2],"data_offsets":[0,8]}, "e":{"dtype":"F16",)"
           R"("shape":[0,7],"data_offsets":[8,8]} } )",
           16);
  const std::vector<StoredTensor> tensors = Parse(file);
  ASSERT_EQ(tensors.size(), 3u);
  EXPECT_EQ(tensors[0].name, "é");
  EXPECT_EQ(tensors[0].dtype, "BF16");
  EXPECT_EQ(tensors[0].shape, (std::vector<int64_t>{2, 2}));
  EXPECT_EQ(tensors[1].name, "e");
  EXPECT_TRUE(tensors[1].data.empty());
  EXPECT_EQ(tensors[2].name, "b");
  EXPECT_EQ(reinterpret_cast<const char*>(tensors[2].data.data()) - file.data(), static_cast<int64_t>(file.size()) - 8);
}

TEST(Safetensors, ReadsFilesWithoutTensors) {
  EXPECT_TRUE(Parse(File("{}", 0)).empty());
  EXPECT_TRUE(Parse(File(R"({"__metadata__":{}})", 0)).empty());
}

TEST(Safetensors, RefusesWhatLies) {
  const std::string good = Tensor("a", "F32", "[2]", "[0,8]");
  const std::string list_of_dims = "[1,1,1,1,1,1,1,1,1]";
  const struct {
    std::string file;
    std::string sentence;
  } cases[] = {
      {"", "has 0 bytes, too few"},
      {"1234567", "has 7 bytes, too few"},
      {File("{}", 0, 10'000'000'000u), "claims a header of 10000000000 bytes, more than the 100000000"},
      {File("{}", 0, UINT64_MAX), "claims a header of 18446744073709551615 bytes, more than"},
      {File("{}", 0, 3), "claims a header of 3 bytes but only 2 follow: the file is truncated"},
      {File("", 0, 0), "the header is malformed, '{' is missing"},
      {File("[]", 0), "the header is malformed, '{' is missing"},
      {File("{", 0), "the header is malformed, '\"' is missing"},
      {File("{\"a", 0), "has a string without an end"},
      {File("{\"a\\", 0, 4), "has a string without an end"},
      {File("{} {}", 0), "the header goes on after its closing brace"},
      {File(std::string(100'000, '['), 0), "'{' is missing"},
      {File("{\"a\":" + std::string(100'000, '['), 0), "tensor \"a\" is malformed"},
      {File("{\"__metadata__\":{\"a\":{\"b\":1}}}", 0), "'\"' is missing"},
      {File("{\"__metadata__\":{\"a\":\"b\"}", 0), "'}' is missing"},
      {File("{" + good + "," + good + "}", 8), "tensor \"a\" is there twice"},
      {File("{" + good + ",\"\\u0061\"" + good.substr(3) + "}", 8), "tensor \"a\" is there twice"},
      {File("{\"a\xff\":{}}", 0), "has a malformed string"},
      {File("{\"a\\q\":{}}", 0), "has a malformed string"},
      {File(R"({"a":{"shape":[2],"data_offsets":[0,8]}})", 8), "tensor \"a\" has no dtype"},
      {File(R"({"a":{"dtype":"F32","data_offsets":[0,8]}})", 8), "tensor \"a\" has no shape"},
      {File(R"({"a":{"dtype":"F32","shape":[2]}})", 8), "tensor \"a\" has no data_offsets"},
      {File(R"({"a":{"dtype":"F32","dtype":"F32"}})", 8), "tensor \"a\" has the field \"dtype\" twice"},
      {File(R"({"a":{"dtype":"F32","stride":[2]}})", 8), "tensor \"a\" has the unknown field \"stride\""},
      {File("{" + Tensor("a", "F31", "[2]", "[0,8]") + "}", 8), "tensor \"a\" has the unknown dtype \"F31\""},
      {File("{" + Tensor("a", "Q4_0", "[32]", "[0,18]") + "}", 18), "tensor \"a\" has the unknown dtype \"Q4_0\""},
      {File("{" + Tensor("a", "F32", "[-2]", "[0,8]") + "}", 8), "tensor \"a\" has a negative number"},
      {File("{" + Tensor("a", "F32", "[2.0]", "[0,8]") + "}", 8), "something else where a whole number belongs"},
      {File("{" + Tensor("a", "F32", "[2e0]", "[0,8]") + "}", 8), "something else where a whole number belongs"},
      {File("{" + Tensor("a", "F32", "[02]", "[0,8]") + "}", 8), "something else where a whole number belongs"},
      {File(R"({"a":{"data_offsets":[0, )", 0), "something else where a whole number belongs"},  // found by the fuzzer
      {File("{" + Tensor("a", "F32", "[\"2\"]", "[0,8]") + "}", 8), "something else where a whole number belongs"},
      {File("{" + Tensor("a", "F32", "[9223372036854775808]", "[0,8]") + "}", 8), "has a number beyond 63 bits"},
      {File("{" + Tensor("a", "F32", "[4294967296,4294967296]", "[0,8]") + "}", 8),
       "tensor \"a\" has the shape [4294967296, 4294967296], whose size overflows"},
      {File("{" + Tensor("a", "F32", "[4611686018427387904]", "[0,8]") + "}", 8), "whose size overflows"},
      {File("{" + Tensor("a", "F32", list_of_dims, "[0,4]") + "}", 4), "has a list of more than 8 numbers"},
      {File("{" + Tensor("a", "F32", "[2]", "[0]") + "}", 8), "tensor \"a\" needs two data_offsets"},
      {File("{" + Tensor("a", "F32", "[2]", "[0,8,9]") + "}", 8), "has a list of more than 2 numbers"},
      {File("{" + Tensor("a", "F32", "[2]", "[8,0]") + "}", 8), "tensor \"a\" ends at byte 0 before it begins at 8"},
      {File("{" + good + "}", 7), "tensor \"a\" ends at byte 8 of the data, which has only 7: the file is truncated"},
      {File("{" + Tensor("a", "F32", "[2]", "[0,9223372036854775807]") + "}", 8), "of the data, which has only 8"},
      {File("{" + Tensor("a", "F16", "[2]", "[0,8]") + "}", 8),
       "tensor \"a\" has 8 bytes where its shape and dtype F16 need 4"},
      {File("{" + Tensor("a", "F4", "[3]", "[0,2]") + "}", 2), "not a multiple of the 2 in a block of F4"},
      {File("{" + good + "," + Tensor("b", "F32", "[2]", "[4,12]") + "}", 12), "tensor \"b\" overlaps tensor \"a\""},
      {File("{" + good + "," + Tensor("b", "F32", "[2]", "[0,8]") + "}", 8), "overlaps tensor"},
      {File("{" + good + "," + Tensor("b", "F32", "[1]", "[12,16]") + "}", 16),
       "the 4 bytes before tensor \"b\" belong to no tensor"},
      {File("{" + good + "}", 9), "the last 1 bytes belong to no tensor"},
      {File("{}", 1), "the last 1 bytes belong to no tensor"},
      {File("{" + Tensor("c", "U8", "[1]", "[0,1]") + "," + Tensor("a", "F32", "[1]", "[1,5]") + "}", 5),
       "tensor \"a\" is unaligned: its data starts at byte"},
      {File("{" + good + " }", 8, good.size() + 3), "tensor \"a\" is unaligned"},
  };
  for (const auto& each : cases) {
    EXPECT_THAT(RefusalOf(each.file),
                AllOf(StartsWith("checkpoint: dir/x.safetensors: "), HasSubstr(each.sentence), Not(HasSubstr("\n"))));
  }
}

TEST(Safetensors, RefusesTooManyTensors) {
  std::string header = "{";
  for (int i = 0; i <= 1'000'000; ++i) header += Tensor(std::to_string(i), "U8", "[0]", "[0,0]") + ",";
  header.back() = '}';
  EXPECT_THAT(RefusalOf(File(header, 0)), HasSubstr("tensor \"1000000\" is one more than the 1000000 allowed"));
}

TEST(Safetensors, NamesInSentencesArePrintableAndShort) {
  const std::string name(1000, 'x');
  const std::string sentence = RefusalOf(File("{\"\\n\\u001b" + name + "\":{}}", 0));
  EXPECT_THAT(sentence, AllOf(HasSubstr("\"\\n\\u001bxxx"), HasSubstr("xxx...\""), Not(HasSubstr("\n"))));
  EXPECT_LT(sentence.size(), 250u);
}

TEST(Safetensors, SurvivesEveryTruncationAndEveryFlippedBitOfItsSeeds) {
  for (const auto& seed : std::filesystem::directory_iterator(GANNET_SOURCE_DIR "/tests/checkpoint/fuzz/safetensors")) {
    const std::string file = ReadTextFile(seed.path());
    EXPECT_EQ(RefusalOf(file), "accepted") << seed.path();
    for (size_t size = 0; size < file.size(); ++size) EXPECT_NE(RefusalOf(file.substr(0, size)), "accepted");
    for (size_t bit = 0; bit < file.size() * 8; ++bit) {
      std::string flipped = file;
      flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << bit % 8));
      RefusalOf(flipped);
    }
  }
}

}  // namespace
}  // namespace gannet
