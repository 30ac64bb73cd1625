#include "checkpoint/bind.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>

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
    for (const FileTensor& tensor : FileTensors(PlanTensors(spec_, NameStyle::kHuggingFace))) {
      files_.push_back({tensor.name, "F32", tensor.shape, ++value});
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
    return Bind(spec_, PlanTensors(spec_, NameStyle::kHuggingFace), *checkpoint_);
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
    const Weight& weight = bound.Get(planned.layer, planned.slot, planned.index).weight;
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
  FileOf("model.norm.weight").shape = {8, 1};
  EXPECT_THAT(Failure(), testing::AllOf(HasSubstr("model.norm.weight"), HasSubstr("[8, 1]"), HasSubstr("[8]")));
  Refill();
  FileOf("model.norm.weight").shape = {1, 8};  // an outer one more or less changes nothing
  EXPECT_EQ(Failure(), "bound");
}

// Every part of a tensor that serves several weights: element (r, c) is where the plan says.
TEST_F(BindTest, PartsOfTensors) {
  spec_.tied_embeddings = false;
  const LatentAttention latent{.heads = 3, .latent_rank = 5, .nope_dim = 4, .rope_dim = 2, .value_dim = 6};
  const MoeFfn moe{.router = {.experts = 4, .chosen = 2}, .expert_width = 7, .expert_biases = true};
  spec_.layers.assign(1, LayerSpec{latent, moe, PreNormResidual{}, {}});
  for (const auto experts : {TensorNames::Experts::kStacked, TensorNames::Experts::kStackedInterleaved}) {
    spec_.tensors.experts = experts;
    if (experts == TensorNames::Experts::kStackedInterleaved) {
      spec_.tensors.names = {{Slot::kExpertGate, "gate_up"},
                             {Slot::kExpertUp, "gate_up"},
                             {Slot::kExpertDown, "down"},
                             {Slot::kExpertGateBias, "gate_up_bias"},
                             {Slot::kExpertUpBias, "gate_up_bias"}};
    } else {
      spec_.tensors.names = {{Slot::kExpertGate, "gate"}, {Slot::kExpertUp, "up"}, {Slot::kExpertDown, "down"}};
    }
    const std::vector<PlannedTensor> plan = PlanTensors(spec_, NameStyle::kHuggingFace);
    folder_ = fs::path(testing::TempDir()) / ("bind_parts_" + std::to_string(::getpid()));
    fs::remove_all(folder_);
    std::map<std::string, std::vector<float>> values;
    {
      SafetensorsWriter writer(folder_, int64_t{1} << 30);
      for (const FileTensor& tensor : FileTensors(plan)) writer.Declare(tensor.name, "F32", tensor.shape);
      float next = 0;
      for (const FileTensor& tensor : FileTensors(plan)) {
        std::vector<float>& all = values[tensor.name];
        for (int64_t i = 0; i < tensor.values(); ++i) all.push_back(next++);
        writer.Write(tensor.name, std::as_bytes(std::span(all)));
      }
      writer.Finish();
    }
    std::ofstream(folder_ / "config.json") << "{}";
    checkpoint_ = Checkpoint::Open(folder_);
    const BoundTensors bound = Bind(spec_, plan, *checkpoint_);
    std::map<std::string, std::vector<int>> reads;
    for (const PlannedTensor& planned : plan) {
      const BoundTensor& tensor = bound.Get(planned.layer, planned.slot, planned.index);
      ASSERT_FALSE(tensor.transposed);
      std::vector<int>& read = reads[planned.name];
      read.resize(values[planned.name].size());
      std::vector<float> row(static_cast<size_t>(planned.cols));
      for (int64_t r = 0; r < planned.rows; ++r) {
        tensor.weight.dequantize_row(tensor.weight, r, row.data());
        for (int64_t c = 0; c < planned.cols; ++c) {
          const size_t at = static_cast<size_t>(planned.offset + r * planned.row_step + c * planned.col_step);
          ASSERT_EQ(row[static_cast<size_t>(c)], values[planned.name].at(at)) << planned.name;
          ++read[at];
        }
      }
    }
    for (const auto& [name, counts] : reads) {
      for (const int count : counts) {  // of kv_b_proj the keys serve twice, as they are and transposed
        ASSERT_TRUE(count == 1 || (count == 2 && name.find("kv_b_proj") != std::string::npos)) << name;
      }
    }
  }
}

// What a rank reads of a matrix whose products are summed over ranks; rows.gguf holds each block type.
TEST(BindParts, ColumnsOfBlocks) {
  const auto checkpoint = Checkpoint::Open(GANNET_SOURCE_DIR "/tests/checkpoint/rows.gguf");
  std::vector<PlannedTensor> plan;
  for (const auto& [name, stored] : checkpoint->tensors()) {
    PlannedTensor planned{.index = static_cast<int>(plan.size()), .name = name, .shape = stored.shape};
    planned.rows = stored.shape[0];
    planned.cols = planned.row_step = stored.shape[1];
    plan.push_back(planned);
  }
  const ModelSpec spec;
  const BoundTensors bound = Bind(spec, plan, *checkpoint);
  std::map<Storage, int> cut, refused;
  for (const PlannedTensor& planned : plan) {
    const Weight whole = bound.Get(-1, planned.slot, planned.index).weight;
    const int64_t block = InfoOf(whole.storage).block_values;
    std::vector<float> all(static_cast<size_t>(whole.cols));
    for (const int64_t ranks : {2, 4, 8, 16, 32}) {
      const int64_t count = planned.cols / ranks;
      for (int64_t rank = 0; rank < ranks; ++rank) {
        PlannedTensor part = planned;
        part.cols = count;
        part.offset = rank * count;
        if (count % block != 0) {
          try {
            Bind(spec, plan, *checkpoint, {part});
            ADD_FAILURE() << planned.name << " cut at " << part.offset << " by " << count;
          } catch (const LoadError& error) {
            EXPECT_THAT(error.what(), testing::AllOf(HasSubstr("rows.gguf: tensor " + planned.name),
                                                     HasSubstr("blocks of " + std::to_string(block))));
          }
          ++refused[whole.storage];
          continue;
        }
        const BoundTensors parts = Bind(spec, plan, *checkpoint, {part});
        const Weight& weight = parts.Get(-1, planned.slot, planned.index).weight;
        EXPECT_EQ(weight.bytes() * ranks, whole.bytes());
        std::vector<float> row(static_cast<size_t>(count));
        for (int64_t r = 0; r < planned.rows; ++r) {
          whole.dequantize_row(whole, r, all.data());
          weight.dequantize_row(weight, r, row.data());
          ASSERT_EQ(std::memcmp(row.data(), all.data() + part.offset, row.size() * sizeof(float)), 0)
              << planned.name << " row " << r << " rank " << rank << " of " << ranks;
        }
        ++cut[whole.storage];
      }
    }
  }
  EXPECT_EQ(cut.size(), 12u);     // every storage
  EXPECT_EQ(refused.size(), 9u);  // no float; the K-quants beyond two ranks, the blocks of 32 beyond sixteen
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
