// Speed of every kernel at the sizes of a small and of a large model, beside the machine's measured roofs.
//   kernels_bench [threads] [table]
#include <fmt/format.h>

#include <chrono>
#include <cstdlib>
#include <memory>
#include <thread>
#include <vector>

#include "kernels/roof.h"
#include "kernels/test_support.h"

namespace gannet {
namespace {

using namespace testing_support;

template <typename F>
double BestSeconds(const F& run) {
  double best = 1e30;
  double total = 0;
  for (int i = 0; i < 200 && (i < 3 || total < 0.4); ++i) {
    const auto start = std::chrono::steady_clock::now();
    run();
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    best = std::min(best, seconds);
    total += seconds;
  }
  return best;
}

struct Bench {
  const Kernels& kernels;
  ThreadPool& pool;
  MachineRoof roof;

  // `copies` products, so that the weights come from memory and not from a cache.
  void Matmul(Storage storage, int64_t n, int64_t k, int64_t m) {
    const TestWeight weight = RandomWeight(storage, n, k, 1);
    std::vector<std::unique_ptr<PackedMatrix>> packed;
    int64_t bytes = 0;
    const int64_t most = m > 32 ? int64_t{1} : int64_t{160} << 20;
    do {
      packed.push_back(kernels.pack(weight.weight, pool));
      bytes += packed.back()->bytes();
    } while (bytes < most);
    const std::vector<float> x = RandomFloats(m * k, 2);
    std::vector<float> out(static_cast<size_t>(m * n));
    const double seconds = BestSeconds([&] {
      for (const auto& matrix : packed) {
        const MatmulTarget target{matrix.get(), out.data(), n, nullptr, false};
        const MatmulArgs job{x.data(), k, m, k, {&target, 1}, {}};
        kernels.matmul({&job, 1}, pool);
      }
    });
    const double gb = static_cast<double>(bytes) / 1e9 / seconds;
    const double gops = 2.0 * static_cast<double>(m * n * k) * static_cast<double>(packed.size()) / 1e9 / seconds;
    const bool int8 = std::string_view(packed[0]->kernel()).find("int8") != std::string_view::npos;
    const bool one_plane = storage == Storage::kE2M1;  // other weights of few bits meet two int8 planes
    const double peak = !int8 ? roof.fp32_gflops : one_plane ? roof.int8_gops : roof.int8_gops / 2;
    fmt::print("{:<28} {:>6} x {:<6} m {:<4} {:>8.1f} us {:>7.1f} GB/s {:>4.0f}% {:>8.1f} GOPS {:>4.0f}%\n",
               packed[0]->kernel(), n, k, m, 1e6 * seconds / static_cast<double>(packed.size()), gb,
               100 * gb / roof.read_gb_s, gops, 100 * gops / peak);
  }

  void Attention(int64_t query_heads, int64_t kv_heads, int64_t dim, int64_t rows, int64_t context, KvType type) {
    KvPages pages;
    pages.layout = {kv_heads, dim, dim, type};
    pages.block_stride = pages.layout.block_bytes();
    const int64_t blocks = (context + 63) / 64;
    std::vector<std::byte> memory(static_cast<size_t>(blocks * pages.block_stride + 64));
    pages.base = memory.data() + (64 - reinterpret_cast<uintptr_t>(memory.data()) % 64) % 64;
    std::vector<int32_t> table;
    for (int64_t b = 0; b < blocks; ++b) table.push_back(static_cast<int32_t>(b));
    const AttentionSequence sequence{0, rows, table};
    std::vector<KeySpan> spans;
    double pairs = 0;
    for (int64_t i = 0; i < rows; ++i) {
      spans.push_back({0, static_cast<int32_t>(context - rows + i + 1)});
      pairs += static_cast<double>(context - rows + i + 1);
    }
    const std::vector<float> q = RandomFloats(rows * query_heads * dim, 1);
    std::vector<float> out(q.size());
    AttentionArgs args;
    args.q = q.data();
    args.out = out.data();
    args.q_stride = args.out_stride = query_heads * dim;
    args.query_heads = query_heads;
    args.scale = 0.125f;
    args.pages = pages;
    args.sequences = {&sequence, 1};
    args.spans = spans;
    const double seconds = BestSeconds([&] { kernels.attention(args, pool); });
    const double gflops = 4 * pairs * static_cast<double>(query_heads * dim) / 1e9 / seconds;
    const double gb = static_cast<double>(blocks * pages.block_stride) / 1e9 / seconds;
    fmt::print(
        "attention {}/{} heads of {:<4} {:<4} rows {:<5} context {:<6} {:>8.1f} us {:>6.1f} GB/s {:>7.1f} GFLOPS "
        "{:>4.0f}%\n",
        query_heads, kv_heads, dim,
        type == KvType::kF32   ? "f32"
        : type == KvType::kF16 ? "f16"
                               : "bf16",
        rows, context, 1e6 * seconds, gb, gflops, 100 * gflops / roof.fp32_gflops);
  }

  void Elementwise(int64_t rows) {
    const int64_t width = 1536;
    std::vector<float> x = RandomFloats(rows * width, 1);
    const std::vector<float> weight = RandomFloats(width, 2);
    std::vector<float> out(x.size());
    const double norm = BestSeconds([&] {
      kernels.rms_norm({x.data(), width, out.data(), width, rows, 1, width, weight.data(), 1e-5f}, pool);
    });
    const double silu = BestSeconds([&] {
      kernels.gated_activation({x.data(), width, x.data(), width, out.data(), width, rows, width}, pool);
    });
    fmt::print("rms_norm {:>4} x {}  {:>7.1f} us   silu {:>7.1f} us\n", rows, width, 1e6 * norm, 1e6 * silu);
  }
};

int Main(int threads, const char* name) {
  const Kernels* kernels = FindKernels(name);
  if (!kernels) {
    fmt::print(stderr, "no kernels called {} on this machine\n", name);
    return 2;
  }
  ThreadPool pool(threads);
  Bench bench{*kernels, pool, MeasureRoof(pool, *kernels)};
  fmt::print("{} with {} threads. Roofs: read {:.1f} GB/s, int8 {:.0f} GOPS, fp32 {:.0f} GFLOPS\n", kernels->name,
             threads, bench.roof.read_gb_s, bench.roof.int8_gops, bench.roof.fp32_gflops);
  for (const int64_t m : {1, 4, 16, 512}) {
    bench.Matmul(Storage::kQ4_1, 1536, 576, m);
    bench.Matmul(Storage::kQ4_1, 576, 1536, m);
    bench.Matmul(Storage::kQ8_0, 49152, 576, m);
    bench.Matmul(Storage::kQ4_0, 4096, 4096, m);
    bench.Matmul(Storage::kQ4_1, 4096, 4096, m);
    bench.Matmul(Storage::kE2M1, 1536, 2048, m);  // an expert of GLM-4.7-Flash in MXFP4
    bench.Matmul(Storage::kE2M1, 2048, 1536, m);
    bench.Matmul(Storage::kU4, 4096, 4096, m);
    bench.Matmul(Storage::kI8, 65536, 2048, m > 16 ? 16 : m);  // nearly half of its lm_head
    bench.Matmul(Storage::kBF16, 4096, 1024, m);
    bench.Matmul(Storage::kF32, 2048, 1024, m);
  }
  for (const KvType type : {KvType::kF32, KvType::kF16, KvType::kBF16}) {
    bench.Attention(9, 3, 64, 1, 256, type);
    bench.Attention(9, 3, 64, 1, 4096, type);
    bench.Attention(9, 3, 64, 512, 512, type);
  }
  bench.Attention(32, 4, 128, 256, 4096, KvType::kF16);
  bench.Elementwise(1);
  bench.Elementwise(512);
  return 0;
}

}  // namespace
}  // namespace gannet

int main(int argc, char** argv) {
  const int threads = argc > 1 ? std::atoi(argv[1]) : static_cast<int>(std::thread::hardware_concurrency());
  return gannet::Main(threads > 0 ? threads : 1, argc > 2 ? argv[2] : "auto");
}
