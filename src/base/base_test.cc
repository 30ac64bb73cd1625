#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>

#include "base/dtype.h"
#include "base/json.h"
#include "base/mapped_file.h"
#include "base/npy.h"
#include "base/philox.h"
#include "base/result.h"

namespace gannet {
namespace {

std::filesystem::path TempFile(const char* name) {
  return std::filesystem::temp_directory_path() / (std::string("gannet_base_test_") + name);
}

TEST(Philox, KnownAnswers) {  // of the Random123 distribution (kat_vectors, philox4x32 10)
  EXPECT_EQ(Philox(0, {0, 0, 0, 0}), (std::array<uint32_t, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  constexpr uint32_t kAll = 0xffffffff;
  EXPECT_EQ(Philox(~uint64_t{0}, {kAll, kAll, kAll, kAll}),
            (std::array<uint32_t, 4>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
}

TEST(Philox, OpenUnitNeverReachesItsEnds) {
  EXPECT_GT(OpenUnit(0), 0.0f);
  EXPECT_LT(OpenUnit(0xffffffff), 1.0f);
}

TEST(DType, Fp8IsTheNearestCode) {
  for (int code = 0; code < 126; ++code) {
    const float low = kE4M3.values[code];
    const float high = kE4M3.values[code + 1];
    ASSERT_LT(low, high);
    const float middle = (low + high) / 2;  // exact
    for (const float sign : {1.0f, -1.0f}) {
      const int bit = sign < 0 ? 128 : 0;
      EXPECT_EQ(FloatToE4M3(sign * low), code | bit);
      EXPECT_EQ(FloatToE4M3(sign * std::nextafter(middle, 0.0f)), code | bit);
      EXPECT_EQ(FloatToE4M3(sign * middle), (code % 2 == 0 ? code : code + 1) | bit);
      EXPECT_EQ(FloatToE4M3(sign * std::nextafter(middle, 1e9f)), (code + 1) | bit);
    }
  }
  EXPECT_EQ(kE4M3.values[126], 448.0f);
  EXPECT_EQ(FloatToE4M3(1e30f), 126);
  EXPECT_TRUE(std::isnan(kE4M3.values[FloatToE4M3(std::numeric_limits<float>::infinity())]));
  EXPECT_TRUE(std::isnan(kE4M3.values[FloatToE4M3(std::nanf(""))]));
}

TEST(DType, EveryHalfSurvivesTheRoundTrip) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const uint16_t half = static_cast<uint16_t>(bits);
    const float value = F16ToFloat(half);
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(F16ToFloat(FloatToF16(value))));
    } else {
      ASSERT_EQ(FloatToF16(value), half);
    }
    const float brain = BF16ToFloat(half);
    if (!std::isnan(brain)) {
      ASSERT_EQ(FloatToBF16(brain), half);
    }
  }
}

TEST(DType, RoundsHalvesToNearestEven) {
  EXPECT_EQ(F16ToFloat(FloatToF16(2049.0f)), 2048.0f);  // spacing 2: a tie goes to the even neighbour
  EXPECT_EQ(F16ToFloat(FloatToF16(2051.0f)), 2052.0f);
  EXPECT_EQ(F16ToFloat(FloatToF16(65519.0f)), 65504.0f);
  EXPECT_TRUE(std::isinf(F16ToFloat(FloatToF16(65520.0f))));
  EXPECT_EQ(F16ToFloat(FloatToF16(0x1.8p-25f)), 0x1p-24f);
  EXPECT_EQ(FloatToF16(0x1p-25f), 0);
  EXPECT_EQ(F16ToFloat(FloatToF16(-0x1.ff8p-15f)), -0x1.ff8p-15f);
}

TEST(Json, RoundTrip) {
  const char* text = R"({"z":[1,-2,2.5,true,null,"a\n\u00e9\ud83d\ude00"],"a":{"b":{}},"big":18446744073709551615})";
  const Result<Json> json = Json::Parse(text);
  ASSERT_TRUE(json.ok());
  EXPECT_EQ(json->Dump(),
            "{\"z\":[1,-2,2.5,true,null,\"a\\n\u00e9\U0001f600\"],\"a\":{\"b\":{}},\"big\":18446744073709551615}");
  EXPECT_EQ(Json::Parse(json->Dump(2)).value(), *json);
  EXPECT_EQ(json->Find("z")->as_array()[1].as_int(), -2);
  EXPECT_EQ(json->Find("big")->as_int(), std::nullopt);
  EXPECT_EQ(json->Find("absent"), nullptr);
}

TEST(Json, RepeatedKeysKeepTheLast) { EXPECT_EQ(Json::Parse(R"({"a":1,"b":2,"a":3})")->Dump(), R"({"b":2,"a":3})"); }

TEST(Json, ErrorsSayWhere) {
  EXPECT_EQ(Json::Parse("{\"a\": 1,\n  oops}").error().message, "invalid JSON at line 2, column 3");
  for (const char* bad : {"", "{", "[1,]", "nul", "\"\xff\"", "1 2", "{\"a\" 1}", "[1e999]"}) {
    EXPECT_FALSE(Json::Parse(bad).ok()) << bad;
  }
}

TEST(Json, DepthIsBounded) {
  EXPECT_TRUE(Json::Parse(std::string(100, '[') + std::string(100, ']')).ok());
  EXPECT_FALSE(Json::Parse(std::string(100000, '[')).ok());
  EXPECT_FALSE(Json::Parse(std::string(129, '[') + std::string(129, ']')).ok());
}

TEST(Npy, RoundTripAndRefusal) {
  const std::filesystem::path path = TempFile("a.npy");
  const std::vector<int64_t> shape = {2, 3};
  const std::vector<float> values = {1, 2, 3, -4.5f, 5, std::numeric_limits<float>::infinity()};
  WriteNpy(path, shape, values);
  const NpyArray array = ReadNpy(path);
  EXPECT_EQ(array.shape, shape);
  EXPECT_EQ(array.values, values);
  std::filesystem::resize_file(path, std::filesystem::file_size(path) - 1);
  EXPECT_THROW(ReadNpy(path), LoadError);
  EXPECT_THROW(WriteNpy("/nonexistent/a.npy", shape, values), LoadError);
  std::filesystem::remove(path);
}

TEST(MappedFile, WhatWasReadIsNotCold) {
  const std::filesystem::path path = TempFile("cold");
  std::ofstream(path, std::ios::binary) << std::string((5 << 20) + 123, 'x');
  const auto file = MappedFile::Open(path);
  const int fd = open(path.c_str(), O_RDONLY);
  ASSERT_EQ(fsync(fd), 0);
  posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);  // a wish: some file systems keep their pages
  close(fd);
  const int64_t cold = MappedFile::ColdBytes(file->bytes());
  EXPECT_GE(cold, 0);
  EXPECT_LE(cold, 5 << 20);
  EXPECT_EQ(std::ranges::count(file->bytes(), std::byte{'x'}), (5 << 20) + 123);
  EXPECT_EQ(MappedFile::ColdBytes(file->bytes()), 0);
  EXPECT_EQ(MappedFile::ColdBytes(file->bytes().first(100)), 0);
  MappedFile::Evict(file->bytes());  // how much goes is up to the file system; all of it comes back
  MappedFile::Evict(file->bytes().first(100));
  MappedFile::Release(file->bytes());
  EXPECT_EQ(std::ranges::count(file->bytes(), std::byte{'x'}), (5 << 20) + 123);
  std::filesystem::remove(path);
}

TEST(MappedFile, MapsAndRefuses) {
  const std::filesystem::path path = TempFile("b");
  std::ofstream(path) << "hello";
  const auto file = MappedFile::Open(path);
  EXPECT_EQ(file->bytes().size(), 5u);
  EXPECT_EQ(static_cast<char>(file->bytes()[4]), 'o');
  std::ofstream(path, std::ios::trunc).close();
  EXPECT_THROW(MappedFile::Open(path), LoadError);
  EXPECT_THROW(MappedFile::Open(path.parent_path()), LoadError);
  EXPECT_THROW(MappedFile::Open("/nonexistent"), LoadError);
  EXPECT_THROW(ReadTextFile("/nonexistent"), LoadError);
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace gannet
