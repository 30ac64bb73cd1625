#include "kernels/measure.h"

#include <algorithm>
#include <chrono>
#include <vector>

#include "base/philox.h"
#include "kernels/cpu/arena.h"

namespace gannet {
namespace {

constexpr int64_t kBeyondCaches = int64_t{256} << 20;
constexpr double kEnoughSeconds = 0.3;

// Uniform in [-1, 1).
std::vector<float> RandomValues(int64_t count) {
  std::vector<float> values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); ++i) {
    const auto bits = Philox(1, {static_cast<uint32_t>(i), 0, 0, 0});
    values[i] = static_cast<float>(bits[0]) * 0x1p-31f - 1.0f;
  }
  return values;
}

}  // namespace

double MedianSeconds(const std::function<void()>& run) {
  std::vector<double> seconds;
  double total = 0;
  for (int i = 0; i < 400 && (i < 3 || total < kEnoughSeconds); ++i) {
    const auto start = std::chrono::steady_clock::now();
    run();
    seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    total += seconds.back();
  }
  std::ranges::sort(seconds);
  return seconds[seconds.size() / 2];
}

KernelSpeed MeasureProducts(const Kernels& kernels, ThreadPool& pool, std::span<const PackedMatrix* const> weights,
                            int64_t rows) {
  const int64_t n = weights[0]->rows();
  const int64_t k = weights[0]->cols();
  const std::vector<float> x = RandomValues(rows * k);
  std::vector<float> out(static_cast<size_t>(rows * n));
  // What many rows compute outweighs where their weights come from.
  const int64_t wanted = rows > 32 ? 1 : kBeyondCaches;
  size_t count = 0;
  for (int64_t bytes = 0; count < weights.size() && bytes < wanted; ++count) bytes += weights[count]->bytes();
  const auto run = [&] {
    for (const PackedMatrix* weight : weights.first(count)) {
      const MatmulTarget target{weight, out.data(), n, nullptr, false};
      const MatmulArgs job{x.data(), k, rows, k, {&target, 1}, {}};
      kernels.matmul({&job, 1}, pool);
    }
  };
  run();  // lays the weights out
  KernelSpeed speed;
  speed.seconds = MedianSeconds(run) / static_cast<double>(count);
  speed.bytes = weights[0]->bytes() + rows * (k + n) * static_cast<int64_t>(sizeof(float));
  speed.operations = 2 * rows * n * k;
  return speed;
}

KernelSpeed MeasureAttention(const Kernels& kernels, ThreadPool& pool, const KvLayout& layout, int64_t query_heads,
                             int64_t rows, int64_t context) {
  const int64_t blocks = (context + kBlockTokens - 1) / kBlockTokens;
  const std::shared_ptr<std::byte> memory = AllocatePacked(blocks * layout.block_bytes());
  std::fill_n(memory.get(), blocks * layout.block_bytes(), std::byte{0});  // pages of its own, not the shared zero page
  std::vector<int32_t> table(static_cast<size_t>(blocks));
  for (size_t b = 0; b < table.size(); ++b) table[b] = static_cast<int32_t>(b);
  const AttentionSequence sequence{0, rows, table};
  std::vector<KeySpan> spans;
  int64_t pairs = 0;
  for (int64_t i = context - rows + 1; i <= context; ++i) {
    spans.push_back({0, static_cast<int32_t>(i)});
    pairs += i;
  }
  const std::vector<float> q = RandomValues(rows * query_heads * layout.key_dim);
  std::vector<float> out(static_cast<size_t>(rows * query_heads * layout.value_dim));
  AttentionArgs args;
  args.q = q.data();
  args.q_stride = query_heads * layout.key_dim;
  args.out = out.data();
  args.out_stride = query_heads * layout.value_dim;
  args.query_heads = query_heads;
  args.scale = 0.125f;
  args.pages = {memory.get(), layout.block_bytes(), layout};
  args.sequences = {&sequence, 1};
  args.spans = spans;
  KernelSpeed speed;
  speed.seconds = MedianSeconds([&] { kernels.attention(args, pool); });
  speed.bytes = blocks * layout.block_bytes() + static_cast<int64_t>((q.size() + out.size()) * sizeof(float));
  speed.operations = 2 * pairs * query_heads * (layout.key_dim + layout.value_dim);
  return speed;
}

}  // namespace gannet
