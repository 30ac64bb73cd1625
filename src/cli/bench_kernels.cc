#include "cli/bench_kernels.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <tuple>
#include <variant>

#include "base/philox.h"

namespace gannet {
namespace {

int64_t QueryHeadsOf(const LayerSpec& layer) {
  struct Of {
    int64_t operator()(const GroupedAttention& mixer) const { return mixer.query_heads; }
    int64_t operator()(const LatentAttention& mixer) const { return mixer.heads; }
  };
  return std::visit(Of{}, layer.mixer);
}

}  // namespace

std::vector<KernelRow> MeasureKernels(Model& model, const std::vector<int>& rows, const std::vector<int>& contexts) {
  std::vector<KernelRow> out;
  std::vector<std::vector<const PackedMatrix*>> groups;  // of one kernel and size, in the model's order
  std::map<std::tuple<std::string, int64_t, int64_t>, size_t> group_of;
  for (const LoadedMatrix& loaded : model.matrices()) {
    const PackedMatrix* matrix = loaded.matrix;
    const auto key = std::tuple(std::string(matrix->kernel()), matrix->rows(), matrix->cols());
    const auto [found, added] = group_of.try_emplace(key, groups.size());
    if (added) groups.emplace_back();
    groups[found->second].push_back(matrix);
  }
  for (const int count : rows) {
    for (const auto& group : groups) {
      KernelRow row;
      row.kernel = group[0]->kernel();
      row.size = fmt::format("{} x {}", group[0]->rows(), group[0]->cols());
      row.count = static_cast<int64_t>(group.size());
      row.rows = count;
      row.speed = MeasureProducts(model.kernels(), model.pool(), group, count);
      row.operands = group[0]->operands();
      out.push_back(std::move(row));
    }
  }
  for (const KvGroup& group : model.kv_plan().groups) {
    if (group.role != KvRole::kAttention) continue;
    for (const int context : contexts) {
      const int64_t seen = group.window ? std::min<int64_t>(*group.window, context) : context;
      const int64_t heads = QueryHeadsOf(model.spec().layer(group.layers[0]));
      KernelRow row;
      row.kernel =
          fmt::format("{} {}", group.layout.latent ? "latent attention" : "attention", NameOf(group.layout.type));
      row.size = fmt::format("{}/{} heads of {}", heads, group.layout.kv_heads, group.layout.key_dim);
      row.count = static_cast<int64_t>(group.layers.size());
      row.rows = 1;
      row.context = std::max<int64_t>(1, seen);
      if (group.layout.type == KvType::kInt8) row.operands = Operands::kInt8;
      row.speed = MeasureAttention(model.kernels(), model.pool(), group.layout, heads, 1, row.context);
      out.push_back(std::move(row));
    }
  }
  return out;
}

double MeasureStepReads(Model& model, int streams) {
  constexpr double kEnoughSeconds = 1;
  double bytes = 0;
  double seconds = 0;
  for (uint32_t step = 0; step < 1000 && seconds < kEnoughSeconds; ++step) {
    std::vector<std::span<const std::byte>> parts;
    for (uint32_t i = 0; i < model.matrices().size(); ++i) {
      const LoadedMatrix& loaded = model.matrices()[i];
      const double drawn = Philox(1, {i, step, 0, 0})[0] * 0x1p-32;
      if (drawn < loaded.per_step(streams)) parts.push_back(loaded.matrix->streamed());
    }
    const double took = SecondsToRead(model.pool(), model.kernels(), parts);
    if (took == 0) return 0;
    if (step == 0) continue;  // warms caches and clocks
    seconds += took;
    for (const auto& part : parts) bytes += static_cast<double>(part.size());
  }
  return bytes / 1e9 / seconds;
}

std::string TableOf(const std::vector<KernelRow>& kernels, const MachineRoof& roof) {
  std::string out =
      fmt::format("\n{:<34} {:>20} {:>5} {:>5} {:>8} {:>10} {:>9} {:>8} {:>6} {:>6} {:>7} {:>7}\n", "kernel", "size",
                  "used", "rows", "context", "us", "MB", "Gop", "GB/s", "read", "GOPS", "peak");
  for (const KernelRow& row : kernels) {
    out += fmt::format(
        "{:<34} {:>20} {:>5} {:>5} {:>8} {:>10.1f} {:>9.3f} {:>8.4f} {:>6.1f} {:>5.0f}% {:>7.1f} {:>6.0f}%\n",
        row.kernel, row.size, row.count, row.rows, row.context ? fmt::format("{}", row.context) : "-",
        1e6 * row.speed.seconds, static_cast<double>(row.speed.bytes) / 1e6,
        static_cast<double>(row.speed.operations) / 1e9, row.speed.gb_s(), 100 * row.speed.gb_s() / roof.read_gb_s,
        row.speed.gops(), 100 * row.speed.gops() / roof.peak_of(row.operands));
  }
  return out;
}

Json JsonOf(const std::vector<KernelRow>& kernels, const MachineRoof& roof) {
  Json out{Json::Array{}};
  for (const KernelRow& row : kernels) {
    Json item;
    item.Set("kernel", row.kernel);
    item.Set("size", row.size);
    item.Set("used", row.count);
    item.Set("rows", row.rows);
    if (row.context) item.Set("context", row.context);
    item.Set("us", 1e6 * row.speed.seconds);
    item.Set("bytes", row.speed.bytes);
    item.Set("operations", row.speed.operations);
    item.Set("gb_s", row.speed.gb_s());
    item.Set("share_of_read_roof", row.speed.gb_s() / roof.read_gb_s);
    item.Set("gops", row.speed.gops());
    item.Set("peak", NameOf(row.operands));
    item.Set("share_of_peak", row.speed.gops() / roof.peak_of(row.operands));
    out.Append(std::move(item));
  }
  return out;
}

}  // namespace gannet
