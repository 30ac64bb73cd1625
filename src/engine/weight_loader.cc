#include "engine/weight_loader.h"

#include <cstring>

namespace gannet {
namespace {

std::vector<float> ReadVector(const Weight& weight) {
  std::vector<float> values(static_cast<size_t>(weight.cols));
  weight.dequantize_row(weight, 0, values.data());
  return values;
}

void CopyRow(const Weight& weight, int64_t row, float* out) {
  std::memcpy(out, weight.row(row), static_cast<size_t>(weight.cols) * sizeof(float));
}

}  // namespace

Linear WeightLoader::Matrix(int layer, Slot weight, int index) {
  Linear linear;
  linear.weight = Pack(tensors_.Get(layer, weight, index));
  return linear;
}

Linear WeightLoader::Matrix(int layer, Slot weight, Slot bias, int index) {
  Linear linear = Matrix(layer, weight, index);
  linear.bias = OptionalVector(layer, bias, index);
  return linear;
}

std::unique_ptr<PackedMatrix> WeightLoader::Pack(const BoundTensor& bound) {
  std::unique_ptr<PackedMatrix> packed =
      bound.transposed ? kernels_.pack_transposed(bound.weight) : kernels_.pack(bound.weight);
  if (!packed) packed = PackTurned(bound.weight);
  matrices_.push_back({packed.get(), per_token_});
  bytes_ += packed->bytes();
  Report();
  return packed;
}

// Exact: the blocks' values in fp32, turned.
std::unique_ptr<PackedMatrix> WeightLoader::PackTurned(const Weight& stored) {
  std::unique_ptr<float[]> copy(new float[static_cast<size_t>(stored.rows * stored.cols)]);
  std::vector<float> row(static_cast<size_t>(stored.cols));
  for (int64_t r = 0; r < stored.rows; ++r) {
    stored.dequantize_row(stored, r, row.data());
    for (int64_t c = 0; c < stored.cols; ++c)
      copy[static_cast<size_t>(c * stored.rows + r)] = row[static_cast<size_t>(c)];
  }
  std::unique_ptr<PackedMatrix> packed = kernels_.pack({.storage = Storage::kF32,
                                                        .rows = stored.cols,
                                                        .cols = stored.rows,
                                                        .data = reinterpret_cast<const std::byte*>(copy.get()),
                                                        .row_bytes = stored.rows * static_cast<int64_t>(sizeof(float)),
                                                        .dequantize_row = CopyRow});
  packed->Settle(pool_);
  if (!packed->owns_memory()) copies_.push_back(std::move(copy));
  return packed;
}

std::vector<float> WeightLoader::Norm(int layer, Slot slot, const RmsNormSpec& spec) {
  std::vector<float> values = OptionalVector(layer, slot);
  if (spec.unit_offset) {
    for (float& value : values) value += 1;
  }
  return values;
}

std::vector<float> WeightLoader::OptionalVector(int layer, Slot slot, int index) {
  const BoundTensor* bound = tensors_.Find(layer, slot, index);
  return bound ? ReadVector(bound->weight) : std::vector<float>{};
}

MixerWeights WeightLoader::Mixer(int layer, const GroupedAttention& spec) {
  GroupedAttentionWeights weights;
  weights.q = Matrix(layer, Slot::kQ, Slot::kQBias);
  weights.k = Matrix(layer, Slot::kK, Slot::kKBias);
  weights.v = Matrix(layer, Slot::kV, Slot::kVBias);
  weights.o = Matrix(layer, Slot::kO, Slot::kOBias);
  if (spec.qk_norm) {
    weights.q_norm = Norm(layer, Slot::kQNorm, *spec.qk_norm);
    weights.k_norm = Norm(layer, Slot::kKNorm, *spec.qk_norm);
  }
  weights.sinks = OptionalVector(layer, Slot::kSinks);
  if (spec.gate) weights.gate = Matrix(layer, Slot::kGate, Slot::kGateBias);
  return weights;
}

MixerWeights WeightLoader::Mixer(int layer, const LatentAttention& spec) {
  LatentAttentionWeights weights;
  if (spec.query_rank) {
    weights.q_down = Matrix(layer, Slot::kQDown, Slot::kQDownBias);
    weights.q_down_norm = Norm(layer, Slot::kQDownNorm, spec.latent_norm);
    weights.q = Matrix(layer, Slot::kQUp);
  } else {
    weights.q = Matrix(layer, Slot::kQ);
  }
  weights.kv_down = Matrix(layer, Slot::kKvDown, Slot::kKvDownBias);
  weights.latent_norm = Norm(layer, Slot::kLatentNorm, spec.latent_norm);
  // What is read head by head lies so in memory: the heads of one slot, then those of the next.
  const auto of_heads = [&](Slot slot, std::vector<Linear>& to) {
    for (int h = 0; h < static_cast<int>(spec.heads); ++h) to.push_back(Matrix(layer, slot, h));
  };
  per_token_ = 0;  // only prompt rows read it
  of_heads(Slot::kKeyUp, weights.key_up);
  per_token_ = 1;
  of_heads(Slot::kKeyUpT, weights.key_up_t);
  of_heads(Slot::kValueUp, weights.value_up);
  weights.o = Matrix(layer, Slot::kO, Slot::kOBias);
  if (spec.gate) weights.gate = Matrix(layer, Slot::kGate, Slot::kGateBias);
  if (spec.sparse && spec.sparse->indexer) {
    weights.indexer.q = Matrix(layer, Slot::kIndexQ);
    weights.indexer.k = Matrix(layer, Slot::kIndexK);
    weights.indexer.weights = Matrix(layer, Slot::kIndexWeights);
    weights.indexer.k_norm = OptionalVector(layer, Slot::kIndexKNorm);
    weights.indexer.k_norm_bias = OptionalVector(layer, Slot::kIndexKNormBias);
  }
  return weights;
}

FfnWeights WeightLoader::Ffn(int layer, const DenseFfn&) {
  DenseFfnWeights weights;
  weights.gate = Matrix(layer, Slot::kFfnGate, Slot::kFfnGateBias);
  weights.up = Matrix(layer, Slot::kFfnUp, Slot::kFfnUpBias);
  weights.down = Matrix(layer, Slot::kFfnDown, Slot::kFfnDownBias);
  return weights;
}

FfnWeights WeightLoader::Ffn(int layer, const MoeFfn& spec) {
  MoeFfnWeights weights;
  weights.router = Matrix(layer, Slot::kRouter, Slot::kRouterBias);
  weights.correction = OptionalVector(layer, Slot::kRouterCorrection);
  per_token_ = static_cast<double>(spec.router.chosen) / static_cast<double>(spec.router.experts);
  for (int e = 0; e < static_cast<int>(spec.held_experts()); ++e) {
    DenseFfnWeights& expert = weights.experts.emplace_back();
    expert.gate = Matrix(layer, Slot::kExpertGate, Slot::kExpertGateBias, e);
    expert.up = Matrix(layer, Slot::kExpertUp, Slot::kExpertUpBias, e);
    expert.down = Matrix(layer, Slot::kExpertDown, Slot::kExpertDownBias, e);
  }
  per_token_ = 1;
  if (spec.shared_width > 0) {
    weights.shared.gate = Matrix(layer, Slot::kSharedGate, Slot::kSharedGateBias);
    weights.shared.up = Matrix(layer, Slot::kSharedUp, Slot::kSharedUpBias);
    weights.shared.down = Matrix(layer, Slot::kSharedDown, Slot::kSharedDownBias);
  }
  return weights;
}

void WeightLoader::Report() {
  const auto now = std::chrono::steady_clock::now();
  if (!progress_ || now - reported_ < std::chrono::milliseconds(200)) return;
  reported_ = now;
  progress_(bytes_, total_bytes_);
}

}  // namespace gannet
