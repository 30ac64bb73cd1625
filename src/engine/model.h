// A model in memory: weights made ready for one table of kernels, and the forward pass of a step.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "comm/communicator.h"
#include "engine/loaded_matrix.h"
#include "kernels/kernels.h"
#include "kv_cache/kv_cache.h"
#include "kv_cache/kv_plan.h"
#include "layers/batch.h"
#include "layers/decoder_layer.h"
#include "layers/rope.h"
#include "layers/workspace.h"
#include "spec/sharding.h"

namespace gannet {

class WeightLoader;

// Another rank could not load its part, and says why.
class PeerFailed : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

struct ModelOptions {
  std::string kernels = "auto";  // name of a kernel table
  int threads = 0;               // 0: one for each core
  KvType kv_type = KvType::kF32;
  std::vector<std::string> overrides = {};  // "key=value" on the configuration
  int64_t memory_limit = 0;                 // bytes; 0: what the machine has available
  int64_t max_step_rows = 512;
  bool drafts = false;  // load the draft heads too
  // Of several ranks each loads and computes its part; null: one process alone.
  std::shared_ptr<Communicator> comm = {};
  Sharding::Experts experts = Sharding::Experts::kByWidth;
  // Called while weights are made ready, at most a few times a second: bytes done, bytes in all.
  std::function<void(int64_t, int64_t)> progress = {};
};

class Model {
 public:
  // Throws LoadError naming what is wrong: files, configuration, tensors, kernels, memory. All ranks load together;
  // when one fails, the lowest that did says why and the others throw PeerFailed.
  static std::unique_ptr<Model> Load(const std::filesystem::path& path, const ModelOptions& options);

  const ModelSpec& spec() const { return spec_; }
  const KvPlan& kv_plan() const { return kv_plan_; }
  const Kernels& kernels() const { return *kernels_; }
  ThreadPool& pool() { return *pool_; }
  int64_t max_step_rows() const { return max_step_rows_; }
  int64_t weight_bytes() const { return weight_bytes_; }  // held or streamed, all layers
  // Weights are laid out for the kernels when steps first need them, or before that, one after another, by this; false
  // when none is left.
  bool LayOutNext();
  const std::vector<LoadedMatrix>& matrices() const { return matrices_; }  // all that products read
  // Of weights, read to generate a token for each of so many streams, on average.
  double bytes_per_step(int streams) const;
  double operations_per_token() const;  // additions and multiplications with weights
  int64_t workspace_bytes() const { return workspace_bytes_; }
  // What a cache may take under the memory limit, after weights and workspace.
  int64_t memory_left_for_cache() const { return memory_left_; }

  ~Model();

  // Computes the rows (at most max_step_rows; none is fine), writes their keys and values into `cache`, and returns the
  // logits [batch.logits_rows.size(), vocab], valid until the next call. Fills batch.ropes.
  std::span<const float> Forward(Batch& batch, const KvCache& cache);
  // This rank's part of a pass; of rank 0 the whole logits. Forward is that on every rank.
  std::span<const float> ForwardPart(Batch& batch, const KvCache& cache);
  // Where the time of all passes so far went.
  const PartTimes& part_times() const { return part_times_; }
  // The residual stream of the last pass, [rows, hidden], before the final norm (of a head: before its own); valid
  // until the next pass.
  std::span<const float> hidden() const { return {buffers_[Area::kHidden], hidden_rows_}; }
  // The same as Forward for draft head `head`: `batch` has the positions that `hidden` [rows, hidden] belongs to, with
  // the tokens `head` + 1 places further on. `hidden` is the model's, or of a chained head the one of the head before
  // it, as hidden() gave it.
  std::span<const float> ForwardDraft(size_t head, Batch& batch, const KvCache& cache, std::span<const float> hidden);

 private:
  explicit Model(std::shared_ptr<Communicator> comm) : comm_(std::move(comm)) {}
  static std::unique_ptr<Model> LoadPart(const std::filesystem::path& path, const ModelOptions& options,
                                         std::shared_ptr<Communicator> comm);
  void LoadWeights(const ModelOptions& options);
  void SettleLmHead(int64_t all_bytes);
  void KeepWeights(bool keep);
  DecoderLayer LoadLayer(int index, WeightLoader& loader);
  StepContext Begin(Batch& batch);
  void GatherLogits(int64_t wanted, std::span<float> logits);
  std::span<const float> Logits(const Batch& batch, const std::vector<float>& norm, const RmsNormSpec& norm_spec,
                                const Linear& lm_head);

  std::shared_ptr<Communicator> comm_;
  Sharding sharding_;
  ShardRange vocab_;         // rows of embedding and lm_head held here
  int64_t known_cache_ = 0;  // that the other ranks have
  size_t laid_out_ = 0;      // of matrices_, by LayOutNext
  bool loaded_together_ = false;
  ModelSpec whole_;
  std::shared_ptr<const Checkpoint> checkpoint_;  // keeps the mapping; the embedding is read in place
  ModelSpec spec_;                                // of this rank; its vocabulary is the whole one
  KvPlan kv_plan_;
  const Kernels* kernels_ = nullptr;
  std::unique_ptr<ThreadPool> pool_;
  int64_t max_step_rows_ = 0;
  int64_t weight_bytes_ = 0;
  int64_t workspace_bytes_ = 0;
  int64_t memory_left_ = 0;

  Weight embedding_;
  std::vector<DecoderLayer> layers_;
  std::vector<DraftLayer> drafts_;
  std::vector<float> final_norm_;
  Linear lm_head_;
  std::vector<RopeTable> ropes_;
  std::vector<LoadedMatrix> matrices_;
  bool keeps_weights_ = true;
  std::vector<std::unique_ptr<float[]>> copies_;  // what packed weights look at outside the file
  Buffers buffers_;
  PartTimes part_times_;
  size_t hidden_rows_ = 0;    // floats of hidden()
  FloatBuffer draft_hidden_;  // [rows, hidden]: what a head takes in
  FloatBuffer logits_rows_;   // [rows wanted, hidden]
  FloatBuffer logits_;        // [rows wanted, vocab]
  FloatBuffer logits_part_;   // of several ranks: [rows wanted, tokens held here]
};

}  // namespace gannet
