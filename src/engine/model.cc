#include "engine/model.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "base/cpu_topology.h"
#include "base/log.h"
#include "base/result.h"
#include "checkpoint/bind.h"
#include "checkpoint/shard_plan.h"
#include "checkpoint/tensor_plan.h"
#include "engine/model_source.h"
#include "engine/ranks.h"
#include "engine/weight_loader.h"
#include "layers/row_ops.h"
#include "layers/workspace_plan.h"
#include "models/registry.h"
#include "spec/visit.h"

namespace gannet {
namespace {

const RopeSpec* RopeOf(const Mixer& mixer) {
  return std::visit(Overloaded{[](const GroupedAttention& a) { return a.rope ? &*a.rope : nullptr; },
                               [](const LatentAttention& a) { return &a.rope; }},
                    mixer);
}

const RopeSpec* IndexRopeOf(const Mixer& mixer) {
  const auto* latent = std::get_if<LatentAttention>(&mixer);
  return latent && latent->sparse && latent->sparse->indexer ? &latent->sparse->indexer->rope : nullptr;
}

}  // namespace

std::unique_ptr<Model> Model::Load(const std::filesystem::path& path, const ModelOptions& options) {
  auto comm = options.comm ? options.comm : std::make_shared<Communicator>();
  if (comm->ranks() == 1) return LoadPart(path, options, comm);
  std::unique_ptr<Model> model;
  std::exception_ptr failure;
  try {
    model = LoadPart(path, options, comm);
  } catch (const std::exception&) {
    failure = std::current_exception();
  }
  std::vector<float> failed(static_cast<size_t>(comm->ranks()), 0.0f);
  if (failure) failed[static_cast<size_t>(comm->rank())] = 1;
  comm->AllReduce(failed);
  const auto first = std::ranges::find(failed, 1.0f);
  if (first == failed.end()) {
    model->loaded_together_ = true;
    return model;
  }
  if (failure && first - failed.begin() == comm->rank()) std::rethrow_exception(failure);
  throw PeerFailed("another rank could not load the model");
}

Model::~Model() {
  if (!loaded_together_ || comm_->rank() != 0 || comm_->failed()) return;
  try {
    SendEnd(*comm_);
  } catch (const CommError& error) {
    Log().error("{}", error.what());
  }
}

std::unique_ptr<Model> Model::LoadPart(const std::filesystem::path& path, const ModelOptions& options,
                                       std::shared_ptr<Communicator> comm) {
  std::unique_ptr<Model> model(new Model(comm));
  model->sharding_ = {comm->rank(), comm->ranks(), options.experts};
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
  model->whole_ = options.drafts ? std::move(resolved.spec) : WithoutDrafts(std::move(resolved.spec));
  if (options.drafts && comm->ranks() > 1) {
    throw LoadError("engine", "draft heads run in one process alone; start it without mpirun");
  }
  model->spec_ = ShardSpec(model->whole_, model->sharding_);
  model->vocab_ = NearlyEqualShare(model->spec_.vocab, model->sharding_);
  model->kv_plan_ = PlanKv(model->spec_, options.kv_type);
  model->max_step_rows_ = options.max_step_rows;
  const int threads = options.threads > 0 ? options.threads : std::max(1, ThisMachine().cores / comm->local_ranks());
  if (const int nodes = ShareMachine(comm->local_rank(), comm->local_ranks(), threads); nodes > 1) {
    Log().info("memory nodes: weights and cache lie on {} in turn", nodes);
  }
  model->pool_ = std::make_unique<ThreadPool>(threads);
  model->LoadWeights(options);
  return model;
}

void Model::LoadWeights(const ModelOptions& options) {
  const NameStyle style = checkpoint_->is_gguf() ? NameStyle::kGguf : NameStyle::kHuggingFace;
  const std::vector<PlannedTensor> plan = PlanTensors(whole_, style);
  const BoundTensors tensors = Bind(whole_, plan, *checkpoint_, ShardTensors(whole_, plan, sharding_));
  for (const std::string& notice : tensors.notices()) Log().info("{}", notice);
  Log().info("tensors: {}", checkpoint_->Census());

  const WorkspacePlan widths = PlanWorkspace(spec_, comm_->ranks());
  const int64_t rows = max_step_rows_;
  workspace_bytes_ = widths.bytes(rows, 0);
  const int64_t limit = options.memory_limit > 0 ? options.memory_limit : AvailableMemoryBytes() / comm_->local_ranks();
  const int64_t weights = checkpoint_->total_bytes() / comm_->ranks();  // nearly; norms and routers are everywhere
  const auto gb = [](int64_t bytes) { return static_cast<double>(bytes) / 1e9; };
  const char* const whose = options.memory_limit > 0 ? "--memory-limit allows" : "this machine has available";
  Log().info("memory: {:.2f} GB of weights and {:.2f} GB to work in; {} {:.2f} GB", gb(weights), gb(workspace_bytes_),
             whose, gb(limit));
  if (const Reading reading = checkpoint_->MeasureReading(); reading.cold_bytes > 0 && reading.seconds >= 1) {
    Log().info(
        "reading: {:.2f} of {:.2f} GB are not in memory yet and take about {:.0f} s at {:.2f} GB/s, as they are "
        "first used",
        gb(reading.cold_bytes), gb(checkpoint_->total_bytes()), reading.seconds,
        gb(reading.cold_bytes) / reading.seconds);
  }
  const int64_t needed = weights + workspace_bytes_;
  if (needed > limit) {
    throw LoadError("engine",
                    fmt::format("{} needs {:.2f} GB for its weights and {:.2f} GB to work in, but {} {:.2f} GB",
                                checkpoint_->path().string(), gb(weights), gb(workspace_bytes_), whose, gb(limit)));
  }
  memory_left_ = limit - needed;

  WeightLoader loader(tensors, checkpoint_->total_bytes(), *kernels_, *pool_, options.progress);
  for (int i = 0; i < static_cast<int>(spec_.layers.size()); ++i) layers_.push_back(LoadLayer(i, loader));
  final_norm_ = loader.Norm(-1, Slot::kFinalNorm, spec_.final_norm);
  const BoundTensor& embedding = tensors.Get(-1, Slot::kEmbedding);
  embedding_ = embedding.weight;
  lm_head_.weight = loader.Pack(spec_.tied_embeddings ? embedding : tensors.Get(-1, Slot::kLmHead));
  lm_head_.bias = loader.OptionalVector(-1, Slot::kLmHeadBias);
  SettleLmHead(weights);
  const size_t without_drafts = loader.matrices().size();
  for (int i = static_cast<int>(layers_.size()); i < spec_.all_layers(); ++i) {
    DraftLayer& draft = drafts_.emplace_back();
    draft.spec = spec_.drafts[drafts_.size() - 1];
    draft.embedding_norm = loader.Norm(i, Slot::kDraftEmbeddingNorm, draft.spec.norm);
    draft.hidden_norm = loader.Norm(i, Slot::kDraftHiddenNorm, draft.spec.norm);
    draft.projection = loader.Matrix(i, Slot::kDraftProjection);
    draft.layer = LoadLayer(i, loader);
    draft.norm = loader.Norm(i, Slot::kDraftNorm, draft.spec.norm);
    if (draft.spec.own_lm_head) draft.lm_head = loader.Matrix(i, Slot::kDraftLmHead);
  }
  weight_bytes_ = loader.bytes() + (spec_.tied_embeddings ? 0 : embedding_.bytes());
  matrices_ = loader.matrices();
  for (size_t i = without_drafts; i < matrices_.size(); ++i) matrices_[i].per_token = 0;
  KeepWeights(false);
  copies_ = loader.TakeCopies();
  buffers_.chosen_keys.resize(static_cast<size_t>(widths.chosen_keys * rows));
  if (widths.chosen_keys > 0) buffers_.chosen_counts.resize(static_cast<size_t>(rows));
  for (size_t i = 0; i < kAreas; ++i) buffers_.areas[i] = FloatBuffer(widths.floats(static_cast<Area>(i), rows));
}

double Model::bytes_per_step(int streams) const {
  double bytes = 0;
  for (const LoadedMatrix& each : matrices_)
    bytes += each.per_step(streams) * static_cast<double>(each.matrix->bytes());
  return bytes;
}

double Model::operations_per_token() const {
  double operations = 0;
  for (const LoadedMatrix& each : matrices_) {
    operations += each.per_token * 2 * static_cast<double>(each.matrix->rows() * each.matrix->cols());
  }
  return operations;
}

// The first step forgets what it lays out: whoever waits for the first token waits for no fresh pages.
void Model::KeepWeights(bool keep) {
  if (keep == keeps_weights_) return;
  keeps_weights_ = keep;
  for (const LoadedMatrix& each : matrices_) each.matrix->set_keeps(keep);
}

bool Model::LayOutNext() {
  if (laid_out_ == matrices_.size()) return false;
  matrices_[laid_out_++].matrix->Settle(*pool_);
  return true;
}

// Every token needs it whole: it is laid out now, and tells how long the other weights will take.
void Model::SettleLmHead(int64_t all_bytes) {
  const auto begin = std::chrono::steady_clock::now();
  lm_head_.weight->Settle(*pool_);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  const double bytes = static_cast<double>(lm_head_.weight->bytes());
  const double seconds = took.count() * static_cast<double>(all_bytes) / bytes;
  if (!lm_head_.weight->owns_memory() || seconds < 1) return;
  Log().info("weights are laid out as they are used or while nothing is asked, all {:.2f} GB in about {:.0f} s",
             static_cast<double>(all_bytes) / 1e9, seconds);
}

DecoderLayer Model::LoadLayer(int index, WeightLoader& loader) {
  DecoderLayer layer;
  layer.spec = spec_.layer(index);
  layer.mixer = std::visit([&](const auto& mixer) { return loader.Mixer(index, mixer); }, layer.spec.mixer);
  layer.ffn = std::visit([&](const auto& ffn) { return loader.Ffn(index, ffn); }, layer.spec.ffn);
  layer.mixer_norm = loader.Norm(index, Slot::kMixerNorm, layer.spec.norm);
  layer.ffn_norm = loader.Norm(index, Slot::kFfnNorm, layer.spec.norm);
  const auto place = [&](KvRole role, const RopeSpec* rope, DecoderLayer::Place& at) {
    at.kv = kv_plan_.Find(index, role).value_or(KvPlan::Place{});
    if (!rope) return;
    const auto known = std::ranges::find(ropes_, *rope, &RopeTable::spec);
    at.rope = static_cast<size_t>(known - ropes_.begin());
    if (known == ropes_.end()) ropes_.emplace_back(*rope, loader.OptionalVector(-1, Slot::kRopeDivisors));
  };
  place(KvRole::kAttention, RopeOf(layer.spec.mixer), layer.keys);
  if (const RopeSpec* rope = IndexRopeOf(layer.spec.mixer)) place(KvRole::kIndex, rope, layer.index);
  return layer;
}

StepContext Model::Begin(Batch& batch) {
  const int64_t rows = batch.rows();
  GANNET_ASSERT(rows <= max_step_rows_, "a step has more rows than the workspace");
  for (FloatBuffer& area : buffers_.areas) area.Poison();
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t token = batch.tokens[static_cast<size_t>(row)] - vocab_.first;
    float* stream = buffers_[Area::kHidden] + row * spec_.hidden;
    if (token >= 0 && token < vocab_.count) {
      embedding_.dequantize_row(embedding_, token, stream);
    } else {
      std::fill_n(stream, spec_.hidden, 0.0f);  // another rank's
    }
  }
  if (comm_->ranks() > 1) comm_->AllReduce({buffers_[Area::kHidden], static_cast<size_t>(rows * spec_.hidden)});
  batch.ropes.resize(ropes_.size());
  for (size_t i = 0; i < ropes_.size(); ++i) ropes_[i].Fill(batch.positions, batch.ropes[i]);
  hidden_rows_ = static_cast<size_t>(rows * spec_.hidden);
  return {*kernels_, *pool_, batch, buffers_, part_times_, *comm_};
}

std::span<const float> Model::Forward(Batch& batch, const KvCache& cache) {
  if (comm_->ranks() > 1) {
    SendStep(*comm_, batch, cache, known_cache_);
    known_cache_ = cache.id();
  }
  return ForwardPart(batch, cache);
}

std::span<const float> Model::ForwardPart(Batch& batch, const KvCache& cache) {
  const StepContext step = Begin(batch);
  if (batch.rows() == 0) return {};
  for (const DecoderLayer& layer : layers_) layer.Forward(step, cache);
  KeepWeights(true);
  return Logits(batch, final_norm_, spec_.final_norm, lm_head_);
}

std::span<const float> Model::ForwardDraft(size_t head, Batch& batch, const KvCache& cache,
                                           std::span<const float> hidden) {
  const DraftLayer& draft = drafts_[head];
  const bool of_model = head == 0 || !draft.spec.chained;
  const std::vector<float>& norm = of_model ? final_norm_ : drafts_[head - 1].norm;
  const RmsNormSpec& norm_spec = of_model ? spec_.final_norm : drafts_[head - 1].spec.norm;
  GANNET_ASSERT(hidden.size() == static_cast<size_t>(batch.rows() * spec_.hidden), "a hidden state for every row");
  if (draft_hidden_.size() < static_cast<int64_t>(hidden.size()))
    draft_hidden_ = FloatBuffer(max_step_rows_ * spec_.hidden);
  std::ranges::copy(hidden, draft_hidden_.data());  // before Begin: it may be the stream of the last pass
  const StepContext step = Begin(batch);
  if (batch.rows() == 0) return {};
  if (draft.spec.normed && !norm.empty()) {
    Normalize(step, norm_spec, norm, draft_hidden_.data(), spec_.hidden, draft_hidden_.data(), spec_.hidden);
  }
  draft.Forward(step, cache, draft_hidden_.data());
  return Logits(batch, draft.norm, draft.spec.norm, draft.lm_head.weight ? draft.lm_head : lm_head_);
}

// Logits of the rows wanted; without a norm, of the rows as they are.
std::span<const float> Model::Logits(const Batch& batch, const std::vector<float>& norm, const RmsNormSpec& norm_spec,
                                     const Linear& lm_head) {
  const int64_t wanted = static_cast<int64_t>(batch.logits_rows.size());
  if (logits_.size() < wanted * spec_.vocab) {
    logits_rows_ = FloatBuffer(wanted * spec_.hidden);
    logits_ = FloatBuffer(wanted * spec_.vocab);
  }
  for (int64_t i = 0; i < wanted; ++i) {
    std::copy_n(buffers_[Area::kHidden] + batch.logits_rows[static_cast<size_t>(i)] * spec_.hidden, spec_.hidden,
                logits_rows_.data() + i * spec_.hidden);
  }
  if (wanted == 0) return {};
  const PartTimer timer(part_times_, Part::kLmHead);
  if (!norm.empty()) {
    kernels_->rms_norm({.x = logits_rows_.data(),
                        .x_stride = spec_.hidden,
                        .out = logits_rows_.data(),
                        .out_stride = spec_.hidden,
                        .rows = wanted,
                        .groups = 1,
                        .dim = spec_.hidden,
                        .weight = norm.data(),
                        .epsilon = static_cast<float>(norm_spec.epsilon)},
                       *pool_);
  }
  const bool alone = comm_->ranks() == 1;
  if (!alone && logits_part_.size() < wanted * vocab_.count) logits_part_ = FloatBuffer(wanted * vocab_.count);
  float* part = alone ? logits_.data() : logits_part_.data();
  const MatmulTarget target[] = {lm_head.To(part, vocab_.count)};
  const MatmulArgs job{logits_rows_.data(), spec_.hidden, wanted, spec_.hidden, target, {}};
  kernels_->matmul({&job, 1}, *pool_);
  const std::span<float> logits(logits_.data(), static_cast<size_t>(wanted * spec_.vocab));
  if (!alone) GatherLogits(wanted, logits);
  return logits;
}

// Every rank has some columns of the logits; rank 0 gets all.
void Model::GatherLogits(int64_t wanted, std::span<float> logits) {
  std::vector<int> counts;
  for (int rank = 0; rank < comm_->ranks(); ++rank) {
    counts.push_back(static_cast<int>(wanted * NearlyEqualShare(spec_.vocab, {rank, comm_->ranks()}).count));
  }
  std::vector<float> all(comm_->rank() == 0 ? logits.size() : 0);
  comm_->Gather({logits_part_.data(), static_cast<size_t>(wanted * vocab_.count)}, all, counts);
  if (comm_->rank() != 0) return;
  const float* from = all.data();
  for (int rank = 0; rank < comm_->ranks(); ++rank) {
    const ShardRange share = NearlyEqualShare(spec_.vocab, {rank, comm_->ranks()});
    for (int64_t row = 0; row < wanted; ++row, from += share.count) {
      std::copy_n(from, share.count, logits.data() + row * spec_.vocab + share.first);
    }
  }
}

}  // namespace gannet
