// synth and inspect, run as the program runs them.
#include "cli/synth.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "base/json.h"
#include "base/mapped_file.h"
#include "base/result.h"
#include "checkpoint/bind.h"
#include "cli/command_line.h"
#include "cli/common.h"
#include "cli/inspect.h"
#include "models/registry.h"

namespace gannet {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

const std::string kConfig = std::string(GANNET_SOURCE_DIR) + "/tests/configs/qwen3-sliding/config.json";

class SynthTest : public testing::Test {
 protected:
  SynthTest() : root_(fs::path(testing::TempDir()) / ("synth_" + std::to_string(::getpid()))) {
    fs::remove_all(root_);
    fs::create_directories(root_);
  }
  ~SynthTest() override { fs::remove_all(root_); }

  static void Run(const std::vector<std::string>& arguments) {
    CommandLine command_line("gannet", "");
    AddSynth(command_line);
    AddInspect(command_line);
    EXPECT_EQ(command_line.Parse(arguments)(), 0);
  }
  fs::path Make(const std::string& name, std::vector<std::string> flags) {
    flags.insert(flags.begin(), {"synth", kConfig, "--out", (root_ / name).string()});
    Run(flags);
    return root_ / name;
  }
  static std::string Bytes(const fs::path& folder) { return ReadTextFile(folder / "model.safetensors"); }

  fs::path root_;
};

TEST_F(SynthTest, TheSeedAloneDecidesTheBytes) {
  const std::string one = Bytes(Make("a", {"--seed", "5", "--threads", "1"}));
  EXPECT_EQ(one, Bytes(Make("b", {"--seed", "5", "--threads", "2"})));
  EXPECT_NE(one, Bytes(Make("c", {"--seed", "6"})));
}

TEST_F(SynthTest, TheValuesAreNormalAndTheCheckpointBinds) {
  for (const std::string format : {"f32", "f16", "bf16"}) {
    const fs::path folder = Make(format, {"--format", format});
    EXPECT_EQ(ReadTextFile(folder / "config.json"), ReadTextFile(kConfig));
    const auto checkpoint = Checkpoint::Open(folder);
    ModelSource source;
    source.config = checkpoint->config();
    const ModelSpec spec = ResolveModel(source).spec;
    const BoundTensors bound = Bind(spec, PlanTensors(spec, NameStyle::kHuggingFace), *checkpoint);
    for (const Slot slot : {Slot::kEmbedding, Slot::kFinalNorm}) {
      const Weight& weight = bound.Get(-1, slot).weight;
      std::vector<float> values(static_cast<size_t>(weight.cols));
      double sum = 0, squares = 0, fourth = 0;
      for (int64_t row = 0; row < weight.rows; ++row) {
        weight.dequantize_row(weight, row, values.data());
        for (const double value : values) {
          const double x = slot == Slot::kFinalNorm ? (value - 1) / 0.1 : value / 0.02;
          sum += x;
          squares += x * x;
          fourth += x * x * x * x;
        }
      }
      const double count = static_cast<double>(weight.rows * weight.cols);
      // Five standard errors of mean, variance and fourth moment of a normal distribution (1, 2, 96 over n).
      EXPECT_NEAR(sum / count, 0, 5 * std::sqrt(1 / count)) << format;
      EXPECT_NEAR(squares / count, 1, 5 * std::sqrt(2 / count)) << format;
      EXPECT_NEAR(fourth / count, 3, 5 * std::sqrt(96 / count)) << format;
    }
  }
}

TEST_F(SynthTest, MistakesAreSentences) {
  const auto failure = [](const std::vector<std::string>& arguments) -> std::string {
    try {
      Run(arguments);
    } catch (const UsageError& error) {
      return error.what();
    } catch (const LoadError& error) {
      return error.what();
    }
    return "done";
  };
  const std::string out = (root_ / "x").string();
  EXPECT_THAT(failure({"synth", kConfig, "--out", out, "--format", "int3"}), HasSubstr("int3"));
  const fs::path made = Make("twice", {});
  EXPECT_THAT(failure({"synth", kConfig, "--out", made.string()}), HasSubstr("safetensors"));
  const std::string broken = (root_ / "broken.json").string();
  std::ofstream(broken) << "{";
  EXPECT_THAT(failure({"synth", broken, "--out", out}), HasSubstr(broken));
  EXPECT_THAT(failure({"inspect", broken}), HasSubstr(broken));
  std::ofstream(broken) << ReadTextFile(std::string(GANNET_SOURCE_DIR) +
                                        "/tests/configs/smollm2-135m-gguf/config.json");
  EXPECT_THAT(failure({"synth", broken, "--out", out}), HasSubstr("GGUF"));
  // A valid configuration of 10^16 bytes.
  std::ofstream(broken) << R"({"architectures": ["LlamaForCausalLM"], "hidden_size": 16777216, "head_dim": 128,
    "intermediate_size": 16777216, "num_hidden_layers": 10, "num_attention_heads": 8, "vocab_size": 16777216,
    "max_position_embeddings": 8})";
  EXPECT_THAT(failure({"synth", broken, "--out", out}), HasSubstr("free"));
}

TEST_F(SynthTest, InspectSaysWhatIsThere) {
  const fs::path folder = Make("model", {"--format", "f16"});
  testing::internal::CaptureStdout();
  Run({"inspect", folder.string(), "--json", "--kernels", "reference", "--kv-type", "bf16"});
  Result<Json> parsed = Json::Parse(testing::internal::GetCapturedStdout());
  ASSERT_TRUE(parsed.ok());
  const Json& json = *parsed;
  EXPECT_EQ(json.Find("architecture")->as_string(), "Qwen3ForCausalLM");
  EXPECT_EQ(json.Find("spec")->Find("layers")->as_array().size(), 2u);
  EXPECT_EQ(json.Find("cache")->Find("groups")->as_array().size(), 2u);
  ASSERT_EQ(json.Find("dtypes")->as_array().size(), 1u);
  const Json& dtype = json.Find("dtypes")->as_array()[0];
  EXPECT_EQ(dtype.Find("dtype")->as_string(), "F16");
  EXPECT_EQ(dtype.Find("tensors")->as_int(), 92);
  EXPECT_EQ(dtype.Find("bytes")->as_int(), 164832 * 2);
  EXPECT_TRUE(dtype.Find("kernel")->is_string());
  EXPECT_EQ(json.Find("kernels")->as_string(), "reference");

  testing::internal::CaptureStdout();
  Run({"inspect", kConfig, "--plans", (root_ / "plans").string()});
  EXPECT_THAT(testing::internal::GetCapturedStdout(),
              testing::AllOf(HasSubstr("layers 3-5"), HasSubstr("initializer_range: only training uses it")));
  EXPECT_EQ(ReadTextFile(root_ / "plans" / "tensors.txt"),
            ReadTextFile(fs::path(kConfig).parent_path() / "tensors.txt"));
}

}  // namespace
}  // namespace gannet
