#include "cli/encoded_writer.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <random>
#include <sstream>

#include "base/mapped_file.h"
#include "base/thread_pool.h"

namespace gannet {
namespace {

namespace fs = std::filesystem;

// A file is the same whether a matrix comes at once or in chunks, whatever the threads.
TEST(EncodedWriter, ChunksDoNotShow) {
  constexpr int64_t kN = 264, kK = 256;
  std::mt19937 random(1);
  std::normal_distribution<float> normal(0.0f, 0.02f);
  std::vector<float> w(static_cast<size_t>(kN * kK));
  for (float& value : w) value = normal(random);
  const float largest = std::ranges::max(w, {}, [](float value) { return std::fabs(value); });
  std::istringstream flags(EncoderNames());
  for (std::string flag; std::getline(flags >> std::ws, flag, ',');) {
    const Encoder& encoder = *FindEncoder(flag);
    std::string files[2];
    for (const int64_t rows : {kN, int64_t{128}}) {
      const fs::path folder = fs::path(testing::TempDir()) / ("encoded_" + std::to_string(::getpid()));
      fs::remove_all(folder);
      ThreadPool pool(rows == kN ? 1 : 2);
      EncodedWriter writer(folder, int64_t{1} << 30, pool);
      writer.DeclareEncoded("x.weight", {kN, kK}, encoder);
      for (int64_t first = 0; first < kN; first += rows) {
        const int64_t count = std::min(rows, kN - first);
        writer.WriteRows("x.weight",
                         std::span(w).subspan(static_cast<size_t>(first * kK), static_cast<size_t>(count * kK)),
                         std::fabs(largest));
      }
      writer.Finish();
      files[rows == kN] = ReadTextFile(folder / "model.safetensors");
      EXPECT_GE(std::ssize(files[rows == kN]), writer.bytes()) << flag;
      fs::remove_all(folder);
    }
    EXPECT_EQ(files[0], files[1]) << flag;
  }
}

}  // namespace
}  // namespace gannet
