#include <vector>

#include "base/result.h"
#include "kernels/reference/reference.h"

namespace gannet::reference {
namespace {

class PlainMatrix : public PackedMatrix {
 public:
  explicit PlainMatrix(const Weight& weight) : PackedMatrix(weight.rows, weight.cols), weight_(weight) {}
  const Weight& weight() const { return weight_; }
  int64_t bytes() const override { return weight_.bytes(); }
  std::span<const std::byte> streamed() const override { return weight_.in_one_piece(); }
  bool owns_memory() const override { return false; }
  const char* kernel() const override { return "plain loops (reference)"; }

 private:
  Weight weight_;
};

constexpr int kChains = 8;  // partial sums, so that fp64 additions overlap; element k goes to chain k mod 8

float Dot(const float* x, const float* w, int64_t k) {
  double sums[kChains] = {};
  int64_t i = 0;
  for (; i + kChains <= k; i += kChains) {
    for (int c = 0; c < kChains; ++c) sums[c] += static_cast<double>(x[i + c]) * w[i + c];
  }
  for (; i < k; ++i) sums[i % kChains] += static_cast<double>(x[i]) * w[i];
  double total = 0;
  for (const double sum : sums) total += sum;
  return static_cast<float>(total);
}

}  // namespace

std::unique_ptr<PackedMatrix> Pack(const Weight& weight) {
  GANNET_ASSERT(weight.dequantize_row != nullptr, "a weight has a row dequantizer");
  return std::make_unique<PlainMatrix>(weight);
}

std::unique_ptr<PackedMatrix> PackTransposed(const Weight&) { return nullptr; }

namespace {

void MatmulOne(const MatmulArgs& args, ThreadPool& pool) {
  for (const MatmulTarget& target : args.targets) {
    const Weight& weight = static_cast<const PlainMatrix*>(target.weight)->weight();
    GANNET_ASSERT(weight.cols == args.k, "the targets of a matmul have the K of its rows");
    constexpr int64_t kRowsPerTask = 32;
    pool.ParallelFor((weight.rows + kRowsPerTask - 1) / kRowsPerTask, [&](int64_t index, int) {
      std::vector<float> row(static_cast<size_t>(args.k));
      for (int64_t n = index * kRowsPerTask; n < std::min(weight.rows, (index + 1) * kRowsPerTask); ++n) {
        weight.dequantize_row(weight, n, row.data());
        for (int64_t m = 0; m < args.m; ++m) {
          const int64_t from = args.gather.empty() ? m : args.gather[static_cast<size_t>(m)];
          float value = Dot(args.x + from * args.x_stride, row.data(), args.k);
          if (target.bias) value += target.bias[n];
          float& out = target.out[m * target.out_stride + n];
          out = target.accumulate ? out + value : value;
        }
      }
    });
  }
}

}  // namespace

void Matmul(std::span<const MatmulArgs> jobs, ThreadPool& pool) {
  for (const MatmulArgs& args : jobs) MatmulOne(args, pool);
}

}  // namespace gannet::reference
