// Speed of every kernel at the sizes of a small and of a large model, beside the machine's measured roofs.
//   kernels_bench [threads] [table]
#include <fmt/format.h>

#include <cstdlib>
#include <memory>
#include <thread>
#include <vector>

#include "kernels/measure.h"
#include "kernels/roof.h"
#include "kernels/test_support.h"

namespace gannet {
namespace {

using namespace testing_support;

struct Bench {
  const Kernels& kernels;
  ThreadPool& pool;
  MachineRoof roof;

  void Print(const std::string& what, const KernelSpeed& speed, double peak) {
    fmt::print("{:<52} {:>9.1f} us {:>7.1f} GB/s {:>4.0f}% {:>8.1f} GOPS {:>4.0f}%\n", what, 1e6 * speed.seconds,
               speed.gb_s(), 100 * speed.gb_s() / roof.read_gb_s, speed.gops(), 100 * speed.gops() / peak);
  }

  void Matmul(Storage storage, int64_t n, int64_t k, int64_t m) {
    const TestWeight weight = RandomWeight(storage, n, k, 1);
    std::vector<std::unique_ptr<PackedMatrix>> packed;
    std::vector<const PackedMatrix*> weights;
    for (int64_t bytes = 0; bytes < int64_t{256} << 20; bytes += weights.back()->bytes()) {
      packed.push_back(kernels.pack(weight.weight));
      weights.push_back(packed.back().get());
    }
    Print(fmt::format("{} {} x {} rows {}", packed[0]->kernel(), n, k, m), MeasureProducts(kernels, pool, weights, m),
          roof.peak_of(weights[0]->operands()));
  }

  void Attention(const KvLayout& layout, int64_t query_heads, int64_t rows, int64_t context) {
    Print(fmt::format("{} {}/{} heads of {} {} rows {} context {}", layout.latent ? "latent" : "attention", query_heads,
                      layout.kv_heads, layout.key_dim, NameOf(layout.type), rows, context),
          MeasureAttention(kernels, pool, layout, query_heads, rows, context),
          roof.peak_of(layout.type == KvType::kInt8 ? Operands::kInt8 : Operands::kFp32));
  }

  void Elementwise(int64_t rows) {
    const int64_t width = 1536;
    std::vector<float> x = RandomFloats(rows * width, 1);
    const std::vector<float> weight = RandomFloats(width, 2);
    std::vector<float> out(x.size());
    const double norm = MedianSeconds([&] {
      kernels.rms_norm({x.data(), width, out.data(), width, rows, 1, width, weight.data(), 1e-5f}, pool);
    });
    const double silu = MedianSeconds([&] {
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
  pool.BindCaller();
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
  for (const KvType type : {KvType::kF32, KvType::kF16, KvType::kBF16, KvType::kFp8, KvType::kInt8}) {
    bench.Attention({3, 64, 64, type}, 9, 1, 256);
    bench.Attention({3, 64, 64, type}, 9, 1, 4096);
    bench.Attention({3, 64, 64, type}, 9, 512, 512);
    bench.Attention({1, 576, 512, type, true}, 20, 1, 256);  // GLM-4.7-Flash
    bench.Attention({1, 576, 512, type, true}, 20, 1, 16384);
  }
  bench.Attention({4, 128, 128, KvType::kF16}, 32, 256, 4096);
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
