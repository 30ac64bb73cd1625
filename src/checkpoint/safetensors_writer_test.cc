#include "checkpoint/safetensors_writer.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <string>

#include "base/result.h"
#include "checkpoint/checkpoint.h"

namespace gannet {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class Writer : public testing::Test {
 protected:
  void SetUp() override {
    const auto* info = testing::UnitTest::GetInstance()->current_test_info();
    folder_ = fs::path(testing::TempDir()) / (std::string("gannet_writer_") + info->name() + std::to_string(getpid()));
    fs::remove_all(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  // Opens what was written, with an empty config.json beside it.
  std::shared_ptr<const Checkpoint> Open() {
    std::ofstream(folder_ / "config.json") << "{}";
    return Checkpoint::Open(folder_);
  }

  fs::path folder_;
};

std::vector<std::byte> Bytes(size_t count, int first) {
  std::vector<std::byte> bytes(count);
  for (size_t i = 0; i < count; ++i) bytes[i] = static_cast<std::byte>(first + static_cast<int>(i) * 7);
  return bytes;
}

std::string Name(size_t i) { return fmt::format("t{}", i); }

bool Holds(const Checkpoint& checkpoint, std::string_view name, const std::vector<std::byte>& bytes) {
  const StoredTensor* tensor = checkpoint.Find(name);
  return tensor && std::equal(tensor->data.begin(), tensor->data.end(), bytes.begin(), bytes.end());
}

// The 3 bytes of `bytes` and the 6 of `odd` would leave `wide` unaligned in the declared order.
TEST_F(Writer, WritesOneFileInChunksWithEveryTensorAligned) {
  const auto bytes = Bytes(3, 1), odd = Bytes(6, 2), wide = Bytes(24, 3);
  SafetensorsWriter writer(folder_, 1 << 20);
  writer.Declare("bytes", "U8", std::vector<int64_t>{3});
  writer.Declare("odd \"é\"", "BF16", std::vector<int64_t>{1, 3});
  writer.Declare("empty", "F32", std::vector<int64_t>{0, 3});
  writer.Declare("wide", "F64", std::vector<int64_t>{3});
  writer.Write("bytes", bytes);
  for (const std::byte& byte : odd) writer.Write("odd \"é\"", std::span(&byte, 1));
  writer.Write("empty", {});
  writer.Write("wide", std::span(wide).first(10));
  writer.Write("wide", std::span(wide).subspan(10));
  writer.Finish();
  EXPECT_FALSE(fs::exists(folder_ / "model.safetensors.index.json"));
  const auto checkpoint = Open();
  EXPECT_EQ(checkpoint->tensors().size(), 4u);
  EXPECT_TRUE(Holds(*checkpoint, "bytes", bytes));
  EXPECT_TRUE(Holds(*checkpoint, "odd \"é\"", odd));
  EXPECT_TRUE(Holds(*checkpoint, "empty", {}));
  EXPECT_TRUE(Holds(*checkpoint, "wide", wide));
  EXPECT_EQ(checkpoint->Find("odd \"é\"")->shape, (std::vector<int64_t>{1, 3}));
}

TEST_F(Writer, ShardsAtTheGivenSize) {
  SafetensorsWriter writer(folder_, 100);
  const std::vector<int64_t> sizes = {60, 40, 1, 300, 0, 100, 0, 8};
  for (size_t i = 0; i < sizes.size(); ++i) writer.Declare(Name(i), "U8", std::span(&sizes[i], 1));
  for (size_t i = 0; i < sizes.size(); ++i) {
    writer.Write(Name(i), Bytes(static_cast<size_t>(sizes[i]), static_cast<int>(i)));
  }
  writer.Finish();
  const auto checkpoint = Open();
  ASSERT_EQ(checkpoint->tensors().size(), sizes.size());
  for (size_t i = 0; i < sizes.size(); ++i) {
    EXPECT_TRUE(Holds(*checkpoint, Name(i), Bytes(static_cast<size_t>(sizes[i]), static_cast<int>(i))));
  }
  const auto file = [&](const char* name) { return checkpoint->Find(name)->file->path().filename().string(); };
  EXPECT_EQ(file("t0"), "model-00001-of-00005.safetensors");
  EXPECT_EQ(file("t1"), "model-00001-of-00005.safetensors");
  EXPECT_EQ(file("t2"), "model-00002-of-00005.safetensors");
  EXPECT_EQ(file("t3"), "model-00003-of-00005.safetensors");
  EXPECT_EQ(file("t5"), "model-00004-of-00005.safetensors");
  EXPECT_EQ(file("t7"), "model-00005-of-00005.safetensors");
}

TEST_F(Writer, RefusesAFolderThatHoldsAModel) {
  fs::create_directories(folder_);
  std::ofstream(folder_ / "model.safetensors.index.json") << "{}";
  try {
    SafetensorsWriter writer(folder_, 100);
    ADD_FAILURE() << "accepted";
  } catch (const LoadError& error) {
    EXPECT_THAT(error.what(), HasSubstr("already holds model.safetensors.index.json; choose another folder"));
  }
  EXPECT_THROW(SafetensorsWriter("/dev/null/x", 100), LoadError);
}

TEST_F(Writer, ThrowsWhenTheDiskTakesNoMore) {
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{10'000, before.rlim_max};
  setrlimit(RLIMIT_FSIZE, &small);
  std::string sentence;
  try {
    SafetensorsWriter writer(folder_, 1 << 20);
    writer.Declare("t", "U8", std::vector<int64_t>{100'000});
    for (int i = 0; i < 100; ++i) writer.Write("t", Bytes(1000, i));
    writer.Finish();
  } catch (const LoadError& error) {
    sentence = error.what();
  }
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_THAT(sentence, HasSubstr("model.safetensors: cannot be written: File too large"));
}

TEST_F(Writer, AssertsOnBrokenOrder) {
  const auto write = [&](std::string_view name, size_t bytes) {
    fs::remove_all(folder_);
    SafetensorsWriter writer(folder_, 100);
    writer.Declare("a", "U8", std::vector<int64_t>{4});
    writer.Declare("b", "U8", std::vector<int64_t>{4});
    writer.Write(name, Bytes(bytes, 0));
    writer.Finish();
  };
  EXPECT_DEATH(write("b", 4), "in the declared order");
  EXPECT_DEATH(write("a", 5), "no more bytes");
  EXPECT_DEATH(write("a", 4), "every declared tensor");
}

}  // namespace
}  // namespace gannet
