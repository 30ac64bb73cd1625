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

// Row `n` of a weight with every row of x: values [m].
void Products(const MatmulArgs& args, const PackedMatrix* matrix, const float* bias, int64_t n, float* values) {
  const Weight& weight = static_cast<const PlainMatrix*>(matrix)->weight();
  GANNET_ASSERT(weight.cols == args.k, "the targets of a matmul have the K of its rows");
  std::vector<float> row(static_cast<size_t>(args.k));
  weight.dequantize_row(weight, n, row.data());
  for (int64_t m = 0; m < args.m; ++m) {
    const int64_t from = args.gather.empty() ? m : args.gather[static_cast<size_t>(m)];
    values[m] = Dot(args.x + from * args.x_stride, row.data(), args.k);
    if (bias) values[m] += bias[n];
  }
}

void MatmulOne(const MatmulArgs& args, ThreadPool& pool) {
  for (const MatmulTarget& target : args.targets) {
    pool.ParallelFor(target.weight->rows(), [&](int64_t n, int) {
      std::vector<float> values(static_cast<size_t>(args.m));
      std::vector<float> up(target.up ? values.size() : 0);
      Products(args, target.weight, target.bias, n, values.data());
      if (target.up) Products(args, target.up, target.up_bias, n, up.data());
      for (size_t m = 0; m < values.size(); ++m) {
        const float value = target.up ? static_cast<float>(Activated(target.activation, values[m], up[m])) : values[m];
        float& out = target.out[static_cast<int64_t>(m) * target.out_stride + n];
        out = target.accumulate ? out + value : value;
      }
    });
  }
}

}  // namespace

void Matmul(std::span<const MatmulArgs> jobs, ThreadPool& pool) {
  for (const MatmulArgs& args : jobs) MatmulOne(args, pool);
}

}  // namespace gannet::reference
