#include "checkpoint/formats/format.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <string>

#include "base/dtype.h"
#include "base/result.h"
#include "checkpoint/formats/half.h"

namespace gannet {
namespace {

using testing::HasSubstr;

std::string RefusalOf(const StoredTensor& tensor) {
  try {
    MakeWeight(tensor);
  } catch (const LoadError& error) {
    return error.what();
  }
  return "accepted";
}

class GoldenRows : public testing::TestWithParam<std::string_view> {};

// Bit for bit what the gguf package computes: both do single fp32 operations in the same order.
TEST_P(GoldenRows, EqualTheGgufPackage) {
  const auto checkpoint = Checkpoint::Open(std::string(GANNET_SOURCE_DIR) + "/tests/checkpoint/rows.gguf");
  const StoredTensor* stored = checkpoint->Find("rows." + std::string(GetParam()));
  const StoredTensor* golden = checkpoint->Find("expected." + std::string(GetParam()));
  ASSERT_NE(stored, nullptr);
  ASSERT_NE(golden, nullptr);
  EXPECT_EQ(stored->dtype, GetParam());
  const Weight weight = checkpoint->WeightOf(*stored);
  EXPECT_EQ(InfoOf(weight.storage).name, GetParam());
  ASSERT_EQ(weight.cols, 512);
  ASSERT_GE(weight.rows, 2);
  ASSERT_EQ(golden->shape, (std::vector<int64_t>{weight.rows, weight.cols}));
  std::vector<float> row(512);
  std::vector<float> expected(512);
  for (int64_t r = 0; r < weight.rows; ++r) {
    weight.dequantize_row(weight, r, row.data());
    std::memcpy(expected.data(), golden->data.data() + r * 512 * 4, 512 * 4);
    for (size_t k = 0; k < row.size(); ++k) {
      ASSERT_EQ(std::bit_cast<uint32_t>(row[k]), std::bit_cast<uint32_t>(expected[k]))
          << "row " << r << " value " << k << ": " << row[k] << " is not " << expected[k];
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, GoldenRows,
                         testing::Values("F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q4_K", "Q5_K",
                                         "Q6_K", "MXFP4"),
                         [](const auto& param) { return std::string(param.param); });

TEST(Formats, TheTableAgreesWithTheStorages) {
  EXPECT_EQ(Formats().size(), 21u);
  for (const Format& format : Formats()) {
    if (!format.scaled) {
      EXPECT_EQ(format.dtype, InfoOf(format.storage).name);
    }
    EXPECT_EQ(FindFormat(format.dtype, format.scaled), &format);
  }
  EXPECT_EQ(FindFormat("MXFP4")->storage, Storage::kMxfp4);
  EXPECT_EQ(FindFormat("MXFP4", true)->storage, Storage::kE2M1);
  EXPECT_EQ(FindFormat("IQ4_NL"), nullptr);
}

TEST(Formats, EveryHalfConvertsLikeTheBase) {
  for (uint32_t bits = 0; bits <= 0xffff; ++bits) {
    const uint16_t half = static_cast<uint16_t>(bits);
    ASSERT_EQ(std::bit_cast<uint32_t>(HalfToFloat(half)), std::bit_cast<uint32_t>(F16ToFloat(half))) << bits;
  }
  EXPECT_EQ(HalfToFloat(0x3555), 0.333251953125f);
  EXPECT_EQ(HalfToFloat(0x8001), -0x1p-24f);
  EXPECT_TRUE(std::isinf(HalfToFloat(0xfc00)));
}

TEST(MakeWeight, TakesVectorsScalarsAndStacks) {
  const std::vector<std::byte> bytes(96);
  StoredTensor tensor{"t", "F32", {2, 3, 4}, nullptr, bytes};
  EXPECT_EQ(MakeWeight(tensor).rows, 6);
  EXPECT_EQ(MakeWeight(tensor).cols, 4);
  EXPECT_EQ(MakeWeight(tensor).row_bytes, 16);
  tensor.shape = {24};
  EXPECT_EQ(MakeWeight(tensor).rows, 1);
  EXPECT_EQ(MakeWeight(tensor).cols, 24);
  tensor.shape = {};
  tensor.data = std::span(bytes).first(4);
  EXPECT_EQ(MakeWeight(tensor).rows, 1);
  EXPECT_EQ(MakeWeight(tensor).cols, 1);
}

TEST(MakeWeight, RefusesByNameWhatItCannotRead) {
  const std::vector<std::byte> bytes(96);
  StoredTensor tensor{"the.tensor", "I64", {12}, nullptr, bytes};
  EXPECT_THAT(RefusalOf(tensor), HasSubstr("tensor \"the.tensor\" has dtype I64, which cannot be used as a weight"));
  tensor.dtype = "F8_E4M3";
  EXPECT_THAT(RefusalOf(tensor), HasSubstr("has dtype F8_E4M3"));
  tensor.dtype = "F32";
  EXPECT_THAT(RefusalOf(tensor), HasSubstr("has 96 bytes where its shape needs 48"));
  tensor.shape = {0, 4};
  EXPECT_THAT(RefusalOf(tensor), HasSubstr("holds no values"));
  tensor.shape = {int64_t{1} << 40, int64_t{1} << 40};
  EXPECT_THAT(RefusalOf(tensor), HasSubstr("overflows"));
  tensor.dtype = "Q8_0";
  tensor.shape = {2, 33};
  EXPECT_THAT(RefusalOf(tensor), HasSubstr("has rows of 33 values, not a multiple of the 32 in a block of Q8_0"));
}

}  // namespace
}  // namespace gannet
