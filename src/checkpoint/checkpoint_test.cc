#include "checkpoint/checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <string>

#include "base/result.h"

namespace gannet {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

const fs::path kGoldens = GANNET_SOURCE_DIR "/tests/checkpoint";
constexpr char kIndex[] = "model.safetensors.index.json";
constexpr char kFirst[] = "model-00001-of-00002.safetensors";
constexpr char kSecond[] = "model-00002-of-00002.safetensors";

std::string RefusalOf(const fs::path& path) {
  try {
    Checkpoint::Open(path);
  } catch (const LoadError& error) {
    return error.what();
  }
  return "accepted";
}

void Replace(const fs::path& path, std::string_view text) { std::ofstream(path, std::ios::binary) << text; }

// A copy of the sharded golden in a folder of its own.
class Sharded : public testing::Test {
 protected:
  void SetUp() override {
    const auto* info = testing::UnitTest::GetInstance()->current_test_info();
    folder_ = fs::path(testing::TempDir()) / (std::string("gannet_") + info->name() + std::to_string(getpid()));
    fs::remove_all(folder_);
    fs::copy(kGoldens / "sharded", folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  fs::path folder_;
};

std::vector<float> Values(const Checkpoint& checkpoint, std::string_view name) {
  const StoredTensor* tensor = checkpoint.Find(name);
  if (!tensor) return {};
  const Weight weight = checkpoint.WeightOf(*tensor);
  std::vector<float> values(static_cast<size_t>(weight.rows * weight.cols));
  for (int64_t r = 0; r < weight.rows; ++r) weight.dequantize_row(weight, r, values.data() + r * weight.cols);
  return values;
}

std::vector<float> Ramp(size_t count) {
  std::vector<float> values(count);
  for (size_t i = 0; i < count; ++i) values[i] = static_cast<float>(i) / 8 - 2;
  return values;
}

// Written by the safetensors package (tools/goldens/safetensors_files.py).
TEST(Checkpoint, ReadsAFolderWithOneFile) {
  const auto checkpoint = Checkpoint::Open(kGoldens / "dtypes");
  EXPECT_FALSE(checkpoint->is_gguf());
  EXPECT_EQ(checkpoint->config().Find("hidden_size")->as_int(), 5);
  EXPECT_TRUE(checkpoint->metadata().is_null());
  EXPECT_EQ(checkpoint->tensors().size(), 14u);
  EXPECT_EQ(Values(*checkpoint, "f32"), Ramp(15));
  EXPECT_EQ(Values(*checkpoint, "f16"), Ramp(15));
  EXPECT_EQ(Values(*checkpoint, "bf16"), Ramp(15));
  EXPECT_EQ(Values(*checkpoint, "stack"), Ramp(24));
  EXPECT_EQ(Values(*checkpoint, "vector"), Ramp(7));
  EXPECT_EQ(Values(*checkpoint, "scalar"), Ramp(1));
  EXPECT_EQ(Values(*checkpoint, "name \"with\" ☃"), Ramp(1));
  EXPECT_EQ(checkpoint->Find("empty")->shape, (std::vector<int64_t>{0, 4}));
  EXPECT_EQ(checkpoint->Find("i64")->data.size(), 32u);
  EXPECT_EQ(checkpoint->Find("nothing"), nullptr);
  int64_t bytes = 0;
  for (const auto& [name, tensor] : checkpoint->tensors()) bytes += static_cast<int64_t>(tensor.data.size());
  EXPECT_EQ(checkpoint->total_bytes(), bytes);
}

TEST(Checkpoint, WeightOfNamesFileTensorAndDtype) {
  const auto checkpoint = Checkpoint::Open(kGoldens / "dtypes");
  for (const auto& [name, dtype] : std::map<std::string, std::string>{{"i64", "I64"},
                                                                      {"u8", "U8"},
                                                                      {"bool", "BOOL"},
                                                                      {"f64", "F64"},
                                                                      {"f8_e4m3", "F8_E4M3"},
                                                                      {"f8_e5m2", "F8_E5M2"}}) {
    try {
      checkpoint->WeightOf(*checkpoint->Find(name));
      ADD_FAILURE() << name << " accepted";
    } catch (const LoadError& error) {
      EXPECT_THAT(error.what(), AllOf(HasSubstr("model.safetensors"), HasSubstr("\"" + name + "\""),
                                      HasSubstr("dtype " + dtype + ",")));
    }
  }
}

TEST_F(Sharded, ReadsAllShards) {
  const auto checkpoint = Checkpoint::Open(folder_);
  EXPECT_EQ(checkpoint->tensors().size(), 3u);
  EXPECT_EQ(Values(*checkpoint, "a"), Ramp(8));
  EXPECT_EQ(Values(*checkpoint, "b"), Ramp(3));
  EXPECT_EQ(Values(*checkpoint, "c"), Ramp(8));
  EXPECT_EQ(checkpoint->Find("c")->file->path().filename(), kSecond);
  EXPECT_EQ(checkpoint->total_bytes(), 32 + 6 + 32);
}

TEST_F(Sharded, RefusesWhatDisagrees) {
  const std::string a_b = std::string(R"("a":")") + kFirst + R"(","b":")" + kFirst + R"(")";
  const std::string c = std::string(R"("c":")") + kSecond + R"(")";
  const auto map = [](const std::string& members) { return "{\"weight_map\":{" + members + "}}"; };
  const struct {
    std::string file;
    std::string text;  // replaces the file; "-" removes it
    std::string sentence;
  } cases[] = {
      {kSecond, "-", std::string(kSecond) + ": is missing, though model.safetensors.index.json names it"},
      {kSecond, "", std::string(kSecond) + ": is empty"},
      {kSecond, "12345", std::string(kSecond) + ": has 5 bytes, too few"},
      {kIndex, map(a_b + "," + c + R"(,"d":")" + kSecond + "\""),
       std::string(kSecond) + ": tensor \"d\" is missing, though model.safetensors.index.json has it here"},
      {kIndex, map(R"("a":")" + std::string(kFirst) + "\"," + c),
       "tensor \"b\" is here but " + std::string(kIndex) + " has it in no"},
      {kIndex, map(R"("b":")" + std::string(kFirst) + R"(","a":")" + kSecond + "\"," + c),
       "tensor \"a\" is here but " + std::string(kIndex) + " has it in " + kSecond},
      {kIndex, map(R"("a":"../x.safetensors")"), "tensor \"a\" needs the name of a .safetensors file in this folder"},
      {kIndex, map(R"("a":7)"), "tensor \"a\" needs the name of a .safetensors file"},
      {kIndex, map(""), "has no weight_map object"},
      {kIndex, "{}", "has no weight_map object"},
      {kIndex, "[]", "holds array, not an object"},
      {kIndex, "{\"weight_map\":", "invalid JSON at line 1"},
      {kIndex, "{\"a\":" + std::string(100'000, '['), "nested"},
      {"config.json", "-", "config.json: is missing"},
      {"config.json", "{", "config.json: invalid JSON"},
      {"config.json", "3", "config.json: holds integer, not an object"},
      {"config.json", std::string(100'000, '['), "config.json: invalid JSON: more than"},
  };
  for (const auto& each : cases) {
    const std::string before = ReadTextFile(folder_ / each.file);
    if (each.text == "-") {
      fs::remove(folder_ / each.file);
    } else {
      Replace(folder_ / each.file, each.text);
    }
    EXPECT_THAT(RefusalOf(folder_), AllOf(StartsWith("checkpoint: "), HasSubstr(each.sentence), Not(HasSubstr("\n"))));
    Replace(folder_ / each.file, before);
  }
  EXPECT_EQ(RefusalOf(folder_), "accepted");
}

TEST_F(Sharded, IgnoresFilesThatTheIndexDoesNotNameButNotAWholeModel) {
  fs::copy(kGoldens / "dtypes/model.safetensors", folder_ / "consolidated.safetensors");
  EXPECT_EQ(RefusalOf(folder_), "accepted");
  fs::copy(kGoldens / "dtypes/model.safetensors", folder_);
  EXPECT_THAT(RefusalOf(folder_), HasSubstr("holds both model.safetensors and model.safetensors.index.json"));
}

TEST_F(Sharded, RefusesATensorThatTwoShardsHold) {
  fs::copy(folder_ / kFirst, folder_ / kSecond, fs::copy_options::overwrite_existing);
  Replace(folder_ / kIndex,
          std::string(R"({"weight_map":{"a":")") + kFirst + R"(","b":")" + kFirst + R"(","x":")" + kSecond + "\"}}");
  EXPECT_THAT(RefusalOf(folder_),
              AllOf(HasSubstr(kSecond), HasSubstr(std::string("tensor \"a\" is in ") + kFirst + " too")));
}

TEST_F(Sharded, RefusesFilesWithoutAnIndex) {
  fs::remove(folder_ / kIndex);
  EXPECT_THAT(RefusalOf(folder_), HasSubstr("holds 2 *.safetensors files but no model.safetensors.index.json"));
  fs::remove(folder_ / kSecond);
  EXPECT_EQ(RefusalOf(folder_), "accepted");
  fs::remove(folder_ / kFirst);
  EXPECT_THAT(RefusalOf(folder_), HasSubstr("holds no *.safetensors file"));
}

// Sparse files: nothing of them may be read beyond what says that they are too large.
TEST_F(Sharded, RefusesTenGigabytesOfJson) {
  constexpr uint64_t kSize = 10'000'000'000u;
  fs::resize_file(folder_ / kIndex, kSize);
  EXPECT_THAT(RefusalOf(folder_), HasSubstr("has 10000000000 bytes, more than the 134217728 allowed"));
  fs::remove(folder_ / kIndex);
  fs::remove(folder_ / kFirst);
  Replace(folder_ / kSecond, std::string_view(reinterpret_cast<const char*>(&kSize), 8));
  fs::resize_file(folder_ / kSecond, kSize + 8);
  EXPECT_THAT(RefusalOf(folder_), HasSubstr("claims a header of 10000000000 bytes, more than the 100000000"));
  fs::resize_file(folder_ / "config.json", kSize);
  EXPECT_THAT(RefusalOf(folder_), HasSubstr("config.json: has 10000000000 bytes, more than"));
}

TEST(Checkpoint, RefusesPathsThatAreNoModel) {
  EXPECT_THAT(RefusalOf("/nothing/here"), HasSubstr("/nothing/here: does not exist; give a folder"));
  EXPECT_THAT(RefusalOf("/dev/null"), HasSubstr("/dev/null: is not a regular file"));
  EXPECT_THAT(RefusalOf(kGoldens / "dtypes/config.json"),
              HasSubstr("is not a GGUF file; give a .gguf file, or a folder"));
}

}  // namespace
}  // namespace gannet
