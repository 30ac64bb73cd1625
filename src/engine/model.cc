#include "engine/model.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "base/cpu_topology.h"
#include "base/log.h"
#include "base/result.h"
#include "checkpoint/bind.h"
#include "checkpoint/tensor_plan.h"
#include "engine/model_source.h"
#include "layers/workspace_plan.h"
#include "models/registry.h"

namespace gannet {
namespace {

std::vector<float> ReadVector(const Weight& weight) {
  std::vector<float> values(static_cast<size_t>(weight.cols));
  weight.dequantize_row(weight, 0, values.data());
  return values;
}

// Makes bound tensors ready, one after another, and counts the bytes.
class Loader {
 public:
  Loader(const BoundTensors& tensors, const Checkpoint& checkpoint, const Kernels& kernels, ThreadPool& pool,
         const std::function<void(int64_t, int64_t)>& progress)
      : tensors_(tensors), checkpoint_(checkpoint), kernels_(kernels), pool_(pool), progress_(progress) {}

  Linear Matrix(int layer, Slot weight, Slot bias) {
    Linear linear;
    linear.weight = Pack(tensors_.Get(layer, weight));
    linear.bias = OptionalVector(layer, bias);
    return linear;
  }
  std::unique_ptr<PackedMatrix> Pack(const Weight& weight) {
    std::unique_ptr<PackedMatrix> packed = kernels_.pack(weight, pool_);
    if (packed->owns_memory()) MappedFile::Release({weight.data, static_cast<size_t>(weight.bytes())});
    bytes_ += packed->bytes();
    operations_ += 2 * packed->rows() * packed->cols();
    Report();
    return packed;
  }
  std::vector<float> Vector(int layer, Slot slot) { return ReadVector(tensors_.Get(layer, slot)); }
  std::vector<float> OptionalVector(int layer, Slot slot) {
    const Weight* weight = tensors_.Find(layer, slot);
    return weight ? ReadVector(*weight) : std::vector<float>{};
  }
  int64_t bytes() const { return bytes_; }
  int64_t operations() const { return operations_; }

 private:
  void Report() {
    const auto now = std::chrono::steady_clock::now();
    if (!progress_ || now - reported_ < std::chrono::milliseconds(200)) return;
    reported_ = now;
    progress_(bytes_, checkpoint_.total_bytes());
  }

  const BoundTensors& tensors_;
  const Checkpoint& checkpoint_;
  const Kernels& kernels_;
  ThreadPool& pool_;
  const std::function<void(int64_t, int64_t)>& progress_;
  int64_t bytes_ = 0;
  int64_t operations_ = 0;
  std::chrono::steady_clock::time_point reported_ = std::chrono::steady_clock::now();
};

MixerWeights LoadMixer(Loader& loader, int layer, const Mixer& mixer) {
  return std::visit(
      [&](const GroupedAttention&) -> MixerWeights {
        GroupedAttentionWeights weights;
        weights.q = loader.Matrix(layer, Slot::kQ, Slot::kQBias);
        weights.k = loader.Matrix(layer, Slot::kK, Slot::kKBias);
        weights.v = loader.Matrix(layer, Slot::kV, Slot::kVBias);
        weights.o = loader.Matrix(layer, Slot::kO, Slot::kOBias);
        weights.q_norm = loader.OptionalVector(layer, Slot::kQNorm);
        weights.k_norm = loader.OptionalVector(layer, Slot::kKNorm);
        return weights;
      },
      mixer);
}

FfnWeights LoadFfn(Loader& loader, int layer, const Ffn& ffn) {
  return std::visit(
      [&](const DenseFfn&) -> FfnWeights {
        DenseFfnWeights weights;
        weights.gate = loader.Matrix(layer, Slot::kFfnGate, Slot::kFfnGateBias);
        weights.up = loader.Matrix(layer, Slot::kFfnUp, Slot::kFfnUpBias);
        weights.down = loader.Matrix(layer, Slot::kFfnDown, Slot::kFfnDownBias);
        return weights;
      },
      ffn);
}

const RopeSpec* RopeOf(const Mixer& mixer) {
  return std::visit([](const GroupedAttention& a) { return a.rope ? &*a.rope : nullptr; }, mixer);
}

}  // namespace

std::unique_ptr<Model> Model::Load(const std::filesystem::path& path, const ModelOptions& options) {
  std::unique_ptr<Model> model(new Model);
  model->kernels_ = FindKernels(options.kernels);
  if (!model->kernels_) {
    std::string names;
    for (const Kernels* kernels : AvailableKernels()) names += fmt::format(" {}", kernels->name);
    throw LoadError("engine", fmt::format("no kernels '{}' on this machine; it runs: auto{}", options.kernels, names));
  }
  model->checkpoint_ = Checkpoint::Open(path);
  const Checkpoint& checkpoint = *model->checkpoint_;
  ResolvedModel resolved = ResolveModel(SourceOf(checkpoint, options.overrides));
  for (const std::string& notice : resolved.notices) Log().info("{}", notice);
  model->spec_ = std::move(resolved.spec);
  model->kv_plan_ = PlanKv(model->spec_, options.kv_type);
  model->max_step_rows_ = options.max_step_rows;
  const int threads = options.threads > 0 ? options.threads : ThisMachine().cores;
  model->pool_ = std::make_unique<ThreadPool>(threads);
  model->LoadWeights(options);
  return model;
}

void Model::LoadWeights(const ModelOptions& options) {
  const NameStyle style = checkpoint_->is_gguf() ? NameStyle::kGguf : NameStyle::kHuggingFace;
  const BoundTensors tensors = Bind(PlanTensors(spec_, style), *checkpoint_);
  for (const std::string& notice : tensors.notices()) Log().info("{}", notice);

  const WorkspacePlan widths = PlanWorkspace(spec_);
  const int64_t rows = max_step_rows_;
  workspace_bytes_ = rows * widths.floats_per_row() * static_cast<int64_t>(sizeof(float));
  const int64_t limit = options.memory_limit > 0 ? options.memory_limit : AvailableMemoryBytes();
  const int64_t weights = checkpoint_->total_bytes();
  const auto gb = [](int64_t bytes) { return static_cast<double>(bytes) / 1e9; };
  const char* const whose = options.memory_limit > 0 ? "--memory-limit allows" : "this machine has available";
  Log().info("memory: {:.2f} GB of weights and {:.2f} GB to work in; {} {:.2f} GB", gb(weights), gb(workspace_bytes_),
             whose, gb(limit));
  const int64_t needed = weights + workspace_bytes_;
  if (needed > limit) {
    throw LoadError("engine",
                    fmt::format("{} needs {:.2f} GB for its weights and {:.2f} GB to work in, but {} {:.2f} GB",
                                checkpoint_->path().string(), gb(weights), gb(workspace_bytes_), whose, gb(limit)));
  }
  memory_left_ = limit - needed;

  Loader loader(tensors, *checkpoint_, *kernels_, *pool_, options.progress);
  for (size_t i = 0; i < spec_.layers.size(); ++i) {
    const int index = static_cast<int>(i);
    DecoderLayer layer;
    layer.spec = spec_.layers[i];
    layer.mixer = LoadMixer(loader, index, layer.spec.mixer);
    layer.ffn = LoadFfn(loader, index, layer.spec.ffn);
    layer.mixer_norm = loader.Vector(index, Slot::kMixerNorm);
    layer.ffn_norm = loader.Vector(index, Slot::kFfnNorm);
    for (size_t group = 0; group < kv_plan_.groups.size(); ++group) {
      const std::vector<int>& members = kv_plan_.groups[group].layers;
      const auto member = std::ranges::find(members, index);
      if (member == members.end()) continue;
      layer.kv_group = group;
      layer.layer_in_group = static_cast<size_t>(member - members.begin());
    }
    if (const RopeSpec* rope = RopeOf(layer.spec.mixer)) {
      const auto known = std::ranges::find(ropes_, *rope, &RopeTable::spec);
      layer.rope = static_cast<size_t>(known - ropes_.begin());
      if (known == ropes_.end()) ropes_.emplace_back(*rope, loader.OptionalVector(-1, Slot::kRopeDivisors));
    }
    layers_.push_back(std::move(layer));
  }
  final_norm_ = loader.Vector(-1, Slot::kFinalNorm);
  embedding_ = tensors.Get(-1, Slot::kEmbedding);
  lm_head_.weight = loader.Pack(spec_.tied_embeddings ? embedding_ : tensors.Get(-1, Slot::kLmHead));
  bytes_per_token_ = loader.bytes();
  operations_per_token_ = loader.operations();
  weight_bytes_ = loader.bytes() + (spec_.tied_embeddings ? 0 : embedding_.bytes());

  buffers_.hidden = FloatBuffer(rows * spec_.hidden);
  buffers_.normed = FloatBuffer(rows * spec_.hidden);
  buffers_.q = FloatBuffer(rows * widths.q);
  buffers_.k = FloatBuffer(rows * widths.k);
  buffers_.v = FloatBuffer(rows * widths.v);
  buffers_.attention = FloatBuffer(rows * widths.attention);
  buffers_.gate = FloatBuffer(rows * widths.gate);
  buffers_.up = FloatBuffer(rows * widths.up);
}

std::span<const float> Model::Forward(Batch& batch, const KvCache& cache) {
  const int64_t rows = batch.rows();
  GANNET_ASSERT(rows <= max_step_rows_, "a step has more rows than the workspace");
  for (FloatBuffer* buffer : {&buffers_.hidden, &buffers_.normed, &buffers_.q, &buffers_.k, &buffers_.v,
                              &buffers_.attention, &buffers_.gate, &buffers_.up}) {
    buffer->Poison();
  }
  if (rows == 0) return {};
  for (int64_t row = 0; row < rows; ++row) {
    embedding_.dequantize_row(embedding_, batch.tokens[static_cast<size_t>(row)],
                              buffers_.hidden.data() + row * spec_.hidden);
  }
  batch.ropes.resize(ropes_.size());
  for (size_t i = 0; i < ropes_.size(); ++i) ropes_[i].Fill(batch.positions, batch.ropes[i]);

  const StepContext step{*kernels_, *pool_, batch, buffers_};
  for (const DecoderLayer& layer : layers_) {
    layer.Forward(step, cache.Pages(layer.kv_group, layer.layer_in_group));
  }

  const int64_t wanted = static_cast<int64_t>(batch.logits_rows.size());
  if (logits_.size() < wanted * spec_.vocab) {
    logits_rows_ = FloatBuffer(wanted * spec_.hidden);
    logits_ = FloatBuffer(wanted * spec_.vocab);
  }
  for (int64_t i = 0; i < wanted; ++i) {
    std::copy_n(buffers_.hidden.data() + batch.logits_rows[static_cast<size_t>(i)] * spec_.hidden, spec_.hidden,
                logits_rows_.data() + i * spec_.hidden);
  }
  if (wanted == 0) return {};
  kernels_->rms_norm({.x = logits_rows_.data(),
                      .x_stride = spec_.hidden,
                      .out = logits_rows_.data(),
                      .out_stride = spec_.hidden,
                      .rows = wanted,
                      .groups = 1,
                      .dim = spec_.hidden,
                      .weight = final_norm_.data(),
                      .epsilon = static_cast<float>(spec_.final_norm.epsilon)},
                     *pool_);
  const MatmulTarget target[] = {lm_head_.To(logits_.data(), spec_.vocab)};
  kernels_->matmul({logits_rows_.data(), spec_.hidden, wanted, spec_.hidden, target}, *pool_);
  return {logits_.data(), static_cast<size_t>(wanted * spec_.vocab)};
}

}  // namespace gannet
