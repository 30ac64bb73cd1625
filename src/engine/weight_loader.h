// Bound tensors made ready for one table of kernels, one after another.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <vector>

#include "checkpoint/bind.h"
#include "engine/loaded_matrix.h"
#include "kernels/kernels.h"
#include "layers/decoder_layer.h"

namespace gannet {

class WeightLoader {
 public:
  // `progress` is called at most a few times a second: bytes done, bytes in all.
  WeightLoader(const BoundTensors& tensors, int64_t total_bytes, const Kernels& kernels, ThreadPool& pool,
               const std::function<void(int64_t, int64_t)>& progress)
      : tensors_(tensors), total_bytes_(total_bytes), kernels_(kernels), pool_(pool), progress_(progress) {}

  Linear Matrix(int layer, Slot weight, int index = 0);
  Linear Matrix(int layer, Slot weight, Slot bias, int index = 0);
  std::unique_ptr<PackedMatrix> Pack(const BoundTensor& bound);
  std::unique_ptr<PackedMatrix> PackTurned(const Weight& stored);
  std::vector<float> Norm(int layer, Slot slot, const RmsNormSpec& spec);
  std::vector<float> OptionalVector(int layer, Slot slot, int index = 0);

  MixerWeights Mixer(int layer, const GroupedAttention& spec);
  MixerWeights Mixer(int layer, const LatentAttention& spec);
  FfnWeights Ffn(int layer, const DenseFfn& spec);
  FfnWeights Ffn(int layer, const MoeFfn& spec);

  int64_t bytes() const { return bytes_; }
  // Every matrix so far, in order; they live where the callers of Matrix and Pack put them.
  const std::vector<LoadedMatrix>& matrices() const { return matrices_; }
  // fp32 copies that packed weights look at; they must live as long.
  std::vector<std::unique_ptr<float[]>> TakeCopies() { return std::move(copies_); }

 private:
  void Report();

  const BoundTensors& tensors_;
  int64_t total_bytes_;
  const Kernels& kernels_;
  ThreadPool& pool_;
  const std::function<void(int64_t, int64_t)>& progress_;
  std::vector<std::unique_ptr<float[]>> copies_;
  std::vector<LoadedMatrix> matrices_;
  int64_t bytes_ = 0;
  double per_token_ = 1;  // of the matrices loaded now
  std::chrono::steady_clock::time_point reported_ = std::chrono::steady_clock::now();
};

}  // namespace gannet
