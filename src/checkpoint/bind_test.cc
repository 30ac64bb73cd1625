#include "checkpoint/bind.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>

#include "base/result.h"
#include "checkpoint/safetensors_writer.h"

namespace gannet {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

struct File {
  std::string name;
  std::string dtype;
  std::vector<int64_t> shape;
  float value = 0;
};

class BindTest : public testing::Test {
 protected:
  BindTest() {
    GroupedAttention attention{.query_heads = 2, .kv_heads = 1, .key_dim = 4, .value_dim = 4};
    spec_.hidden = 8;
    spec_.vocab = 16;
    spec_.tied_embeddings = true;
    spec_.layers.assign(2, LayerSpec{attention, DenseFfn{.width = 12}, PreNormResidual{}, {}});
    Refill();
  }
  void Refill() {
    files_.clear();
    float value = 0;
    for (const PlannedTensor& planned : PlanTensors(spec_, NameStyle::kHuggingFace)) {
      std::vector<int64_t> shape{planned.rows, planned.cols};
      if (IsVector(planned.slot)) shape.erase(shape.begin());
      files_.push_back({planned.name, "F32", shape, ++value});
    }
  }
  File& FileOf(std::string_view name) {
    for (File& file : files_) {
      if (file.name == name) return file;
    }
    ADD_FAILURE() << name;
    return files_[0];
  }

  BoundTensors Run() {
    static int runs = 0;
    folder_ = fs::path(testing::TempDir()) / ("bind_" + std::to_string(::getpid()) + "_" + std::to_string(++runs));
    fs::remove_all(folder_);
    SafetensorsWriter writer(folder_, int64_t{1} << 30);
    for (const File& file : files_) writer.Declare(file.name, file.dtype, file.shape);
    for (const File& file : files_) {
      int64_t count = 1;
      for (int64_t n : file.shape) count *= n;
      const std::vector<float> values(static_cast<size_t>(count), file.value);
      auto bytes = std::as_bytes(std::span(values));
      if (file.dtype == "I16") bytes = bytes.first(bytes.size() / 2);
      writer.Write(file.name, bytes);
    }
    writer.Finish();
    std::ofstream(folder_ / "config.json") << "{}";
    checkpoint_ = Checkpoint::Open(folder_);
    return Bind(PlanTensors(spec_, NameStyle::kHuggingFace), *checkpoint_);
  }
  std::string Failure() {
    try {
      Run();
    } catch (const LoadError& error) {
      return error.what();
    }
    return "bound";
  }
  ~BindTest() override { fs::remove_all(folder_); }

  ModelSpec spec_;
  std::vector<File> files_;
  fs::path folder_;
  std::shared_ptr<const Checkpoint> checkpoint_;
};

TEST_F(BindTest, GivesEveryTensorAtItsSlot) {
  const BoundTensors bound = Run();
  for (const PlannedTensor& planned : PlanTensors(spec_, NameStyle::kHuggingFace)) {
    const Weight& weight = bound.Get(planned.layer, planned.slot);
    EXPECT_EQ(weight.rows, planned.rows) << planned.name;
    EXPECT_EQ(weight.cols, planned.cols) << planned.name;
    float first = 0;
    std::memcpy(&first, weight.data, sizeof(first));
    EXPECT_EQ(first, FileOf(planned.name).value) << planned.name;
  }
  EXPECT_EQ(bound.Find(-1, Slot::kLmHead), nullptr);
  EXPECT_EQ(bound.Find(0, Slot::kQBias), nullptr);
  EXPECT_TRUE(bound.notices().empty());
}

TEST_F(BindTest, NamesMissingTensorsButNotHundreds) {
  std::erase_if(files_, [](const File& file) { return file.name.ends_with("q_proj.weight"); });
  EXPECT_THAT(Failure(),
              testing::AllOf(HasSubstr("2 of 20 tensors"), HasSubstr("model.layers.0.self_attn.q_proj.weight"),
                             HasSubstr("model.layers.1.self_attn.q_proj.weight")));
  files_.resize(1);
  EXPECT_THAT(Failure(), testing::AllOf(HasSubstr("19 of 20 tensors"), HasSubstr("and 15 more")));
}

TEST_F(BindTest, NamesAWrongShapeWithBothShapes) {
  FileOf("model.layers.1.mlp.up_proj.weight").shape = {8, 12};
  EXPECT_THAT(Failure(), testing::AllOf(HasSubstr("model.layers.1.mlp.up_proj.weight"), HasSubstr("[8, 12]"),
                                        HasSubstr("[12, 8]")));
  Refill();
  FileOf("model.norm.weight").shape = {1, 8};
  EXPECT_THAT(Failure(), testing::AllOf(HasSubstr("model.norm.weight"), HasSubstr("[1, 8]"), HasSubstr("[8]")));
}

TEST_F(BindTest, NamesAFormatNobodyKnows) {
  FileOf("model.norm.weight") = {"model.norm.weight", "I16", {8}, 0};
  EXPECT_THAT(Failure(), testing::AllOf(HasSubstr("model.norm.weight"), HasSubstr("I16")));
}

TEST_F(BindTest, NamesLeftOvers) {
  files_.push_back({"model.layers.0.self_attn.q_proj.bias", "F32", {8}, 1});
  EXPECT_THAT(Failure(),
              testing::AllOf(HasSubstr("holds a tensor"), HasSubstr("model.layers.0.self_attn.q_proj.bias")));
  for (int i = 0; i < 9; ++i) files_.push_back({"extra." + std::to_string(i), "F32", {1}, 1});
  EXPECT_THAT(Failure(), testing::AllOf(HasSubstr("holds 10 tensors"), HasSubstr("and 6 more")));
}

TEST_F(BindTest, HarmlessLeftOversAreSaid) {
  files_.push_back({"model.layers.0.self_attn.rotary_emb.inv_freq", "F32", {2}, 1});
  files_.push_back({"lm_head.weight", "F32", {16, 8}, FileOf("model.embed_tokens.weight").value});
  EXPECT_THAT(Run().notices(), testing::UnorderedElementsAre(HasSubstr("inv_freq"), HasSubstr("lm_head.weight")));
  files_.back().value += 1;
  EXPECT_THAT(Failure(), testing::AllOf(HasSubstr("lm_head.weight differs"), HasSubstr("tie_word_embeddings")));
}

}  // namespace
}  // namespace gannet
