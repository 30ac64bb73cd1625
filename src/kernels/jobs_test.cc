// Products of many small jobs, gathered rows, strided weights, and every activation.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/test_support.h"

namespace gannet {
namespace {

using namespace testing_support;

TEST(MatmulJobs, GatheredJobsGiveTheBitsOfSingleProducts) {
  constexpr int64_t kK = 96, kRows = 40;
  const std::vector<float> x = RandomFloats(kRows * kK, 1);
  for (const Kernels* kernels : AvailableKernels()) {
    for (const int threads : {1, 2}) {
      ThreadPool pool(threads);
      std::vector<TestWeight> weights;
      std::vector<std::unique_ptr<PackedMatrix>> packed;
      std::vector<std::vector<int32_t>> gathers;
      std::vector<std::vector<float>> outs, alone;
      std::mt19937 random(3);
      const Storage storages[] = {Storage::kBF16, Storage::kQ8_0, Storage::kQ4_1};
      for (size_t j = 0; j < 20; ++j) {
        const int64_t n = 1 + static_cast<int64_t>(random() % 70);
        weights.push_back(RandomWeight(storages[j % 3], n, kK, static_cast<uint32_t>(j)));
        packed.push_back(kernels->pack(weights.back().weight));
        std::vector<int32_t>& gather = gathers.emplace_back();
        for (size_t i = j == 4 ? 0 : 1 + random() % 19; i > 0; --i)
          gather.push_back(static_cast<int32_t>(random() % kRows));
        outs.emplace_back(gather.size() * static_cast<size_t>(n));
        alone.emplace_back(outs.back().size());
      }
      std::vector<MatmulTarget> targets(packed.size());
      std::vector<MatmulArgs> jobs;
      for (size_t j = 0; j < packed.size(); ++j) {
        const int64_t n = packed[j]->rows();
        targets[j] = {packed[j].get(), outs[j].data(), n, nullptr, false};
        jobs.push_back({x.data(), kK, static_cast<int64_t>(gathers[j].size()), kK, {&targets[j], 1}, gathers[j]});
        for (size_t i = 0; i < gathers[j].size(); ++i) {
          const MatmulTarget one{packed[j].get(), alone[j].data() + i * static_cast<size_t>(n), n, nullptr, false};
          const MatmulArgs job{x.data() + gathers[j][i] * kK, kK, 1, kK, {&one, 1}, {}};
          kernels->matmul({&job, 1}, pool);
        }
      }
      kernels->matmul(jobs, pool);
      for (size_t j = 0; j < packed.size(); ++j) EXPECT_TRUE(SameBits(outs[j], alone[j])) << kernels->name << " " << j;
      kernels->matmul({}, pool);
    }
  }
}

// Two weights of any storages, with biases, a last tile that is not whole and rows of every path.
TEST(MatmulJobs, AGatedProductGivesTheBitsOfItsParts) {
  ThreadPool pool(2);
  constexpr int64_t kN = 75, kK = 96, kStride = kN + 5;
  constexpr float kUntouched = 1234.5f;
  const std::vector<float> gate_bias = RandomFloats(kN, 8), up_bias = RandomFloats(kN, 9);
  const Storage storages[][2] = {{Storage::kE2M1, Storage::kE2M1},
                                 {Storage::kE2M1, Storage::kBF16},
                                 {Storage::kQ4_1, Storage::kI8},
                                 {Storage::kF32, Storage::kQ8_0}};
  for (const Kernels* kernels : AvailableKernels()) {
    for (const auto& [of_gate, of_up] : storages) {
      const TestWeight gate_weight = RandomWeight(of_gate, kN, kK, 6), up_weight = RandomWeight(of_up, kN, kK, 7);
      const auto gate = kernels->pack(gate_weight.weight), up = kernels->pack(up_weight.weight);
      for (const int64_t rows : {1, 3, 9, 45, 300}) {
        for (const bool biased : {false, true}) {
          const std::vector<float> x = RandomFloats(rows * kK, 3);
          const ActivationSpec activation{Activation::kClampedSwiglu, 2, 1.7};
          std::vector<float> got(static_cast<size_t>(rows * kStride), kUntouched), want = got, ups = got;
          const float* const biases[] = {biased ? gate_bias.data() : nullptr, biased ? up_bias.data() : nullptr};
          MatmulTarget gated{gate.get(), got.data(), kStride, biases[0], false};
          gated.up = up.get();
          gated.up_bias = biases[1];
          gated.activation = activation;
          const MatmulTarget parts[] = {{gate.get(), want.data(), kStride, biases[0], false},
                                        {up.get(), ups.data(), kStride, biases[1], false}};
          const MatmulArgs jobs[] = {{x.data(), kK, rows, kK, {&gated, 1}, {}}, {x.data(), kK, rows, kK, parts, {}}};
          kernels->matmul({jobs, 2}, pool);
          kernels->gated_activation({.gate = want.data(),
                                     .gate_stride = kStride,
                                     .up = ups.data(),
                                     .up_stride = kStride,
                                     .out = want.data(),
                                     .out_stride = kStride,
                                     .rows = rows,
                                     .width = kN,
                                     .activation = activation},
                                    pool);
          EXPECT_TRUE(SameBits(got, want)) << kernels->name << ", " << rows << " rows";
        }
      }
    }
  }
}

TEST(MatmulJobs, AStridedWeightIsItsDenseCopy) {
  ThreadPool pool(1);
  constexpr int64_t kN = 37, kK = 29;
  const std::vector<float> x = RandomFloats(3 * kK, 1);
  for (const Kernels* kernels : FastTables()) {
    for (const Storage storage : {Storage::kF32, Storage::kF16, Storage::kBF16}) {
      const TestWeight dense = RandomWeight(storage, kN, kK, 5);
      const int64_t size = InfoOf(storage).block_bytes;
      TestWeight turned = dense;  // [K, N], read by columns
      for (int64_t n = 0; n < kN; ++n) {
        for (int64_t k = 0; k < kK; ++k) {
          std::memcpy(turned.data.data() + (k * kN + n) * size, dense.data.data() + (n * kK + k) * size,
                      static_cast<size_t>(size));
        }
      }
      turned.weight.data = turned.data.data();
      turned.weight.row_bytes = size;
      turned.weight.col_bytes = kN * size;
      std::vector<float> outs[2];
      int i = 0;
      for (const TestWeight* made : {&dense, static_cast<const TestWeight*>(&turned)}) {
        const Weight* weight = &made->weight;
        const auto packed = kernels->pack(*weight);
        std::vector<float>& out = outs[i++];
        out.resize(3 * kN);
        const MatmulTarget target{packed.get(), out.data(), kN, nullptr, false};
        const MatmulArgs job{x.data(), kK, 3, kK, {&target, 1}, {}};
        kernels->matmul({&job, 1}, pool);
      }
      EXPECT_TRUE(SameBits(outs[0], outs[1])) << kernels->name;
    }
  }
}

double Expected(const ActivationSpec& a, double gate, double up) {
  const auto sigmoid = [](double x) { return 1 / (1 + std::exp(-x)); };
  switch (a.kind) {
    case Activation::kSilu:
      return gate * sigmoid(gate) * up;
    case Activation::kClampedSilu:
      return std::min(gate * sigmoid(gate), a.limit) * std::max(-a.limit, std::min(a.limit, up));
    case Activation::kClampedSwiglu:
      gate = std::min(gate, a.limit);
      return gate * sigmoid(a.alpha * gate) * (std::max(-a.limit, std::min(a.limit, up)) + 1);
    case Activation::kSigmoid:
      return sigmoid(gate) * up;
    case Activation::kScaledSoftsign:
      return 2 * (gate / (1 + std::abs(gate))) * up;
    case Activation::kShiftedSoftsign:
      return (gate / (1 + std::abs(gate)) + 1) / 2 * up;
  }
  return 0;
}

TEST(Activations, EveryKindEqualsItsFormula) {
  ThreadPool pool(2);
  constexpr int64_t kRows = 3, kHeads = 4, kDim = 19;
  const ActivationSpec kinds[] = {
      {Activation::kSilu, 0, 0},    {Activation::kClampedSilu, 1.5, 0},  {Activation::kClampedSwiglu, 2, 1.7},
      {Activation::kSigmoid, 0, 0}, {Activation::kScaledSoftsign, 0, 0}, {Activation::kShiftedSoftsign, 0, 0}};
  for (const Kernels* kernels : AvailableKernels()) {
    for (const ActivationSpec& kind : kinds) {
      for (const int64_t repeat : {int64_t{1}, kDim}) {
        const int64_t gates = kHeads * kDim / repeat;
        std::vector<float> gate = RandomFloats(kRows * gates, 1, 3);
        gate[0] = 1e30f;
        gate[1] = -1e30f;
        gate[2] = 0;
        const std::vector<float> up = RandomFloats(kRows * kHeads * kDim, 2, 2);
        std::vector<float> out = up;
        kernels->gated_activation({.gate = gate.data(),
                                   .gate_stride = gates,
                                   .up = out.data(),
                                   .up_stride = kHeads * kDim,
                                   .out = out.data(),
                                   .out_stride = kHeads * kDim,
                                   .rows = kRows,
                                   .width = kHeads * kDim,
                                   .gate_repeat = repeat,
                                   .activation = kind},
                                  pool);
        for (int64_t r = 0; r < kRows; ++r) {
          for (int64_t i = 0; i < kHeads * kDim; ++i) {
            const size_t at = static_cast<size_t>(r * kHeads * kDim + i);
            const double want = Expected(kind, gate[static_cast<size_t>(r * gates + i / repeat)], up[at]);
            ASSERT_NEAR(out[at], want, 1e-6 * std::max(1.0, std::abs(want)))
                << kernels->name << ", kind " << static_cast<int>(kind.kind) << ", repeat " << repeat;
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace gannet
