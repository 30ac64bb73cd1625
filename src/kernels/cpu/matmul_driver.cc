#include "kernels/cpu/matmul_driver.h"

#include <algorithm>
#include <vector>

#include "base/result.h"
#include "kernels/cpu/packed_tiles.h"
#include "kernels/cpu/scratch.h"

namespace gannet {
namespace {

// Below this many values of x one thread prepares them sooner than the others hear of it.
constexpr int64_t kSerialValues = 16384;
constexpr int64_t kTasksPerThread = 4;
// Rows of x in one task: a multiple of kRowTile, about this many bytes, to stay in a core's L2.
constexpr int64_t kRowBytes = 384 << 10;
constexpr int64_t kMaxRowTiles = 32;
// K is walked in steps whose share of a weight tile stays in a core's L1 while the rows pass by. Sums go on from step
// to step in fp32, as they would without.
constexpr int64_t kInt8Step = 1024;
constexpr int64_t kFloatStep = 192;

struct Part {  // consecutive tiles of one target
  const MatmulTarget* target;
  int64_t first;
  int64_t count;
};

// The rows of x as the leaves want them: tiles of kRowTile rows, one after another.
struct Rows {
  const std::byte* quantized = nullptr;
  const float* floats = nullptr;
  int64_t m = 0;
  int64_t k = 0;
  int64_t blocks() const { return k / kQuantBlock; }
  int64_t tiles() const { return (m + kRowTile - 1) / kRowTile; }
  int rows_in(int64_t tile) const { return static_cast<int>(std::min<int64_t>(kRowTile, m - tile * kRowTile)); }
  const std::byte* quantized_tile(int64_t tile) const {
    return quantized + tile * kRowTile * blocks() * kQuantizedBytes;
  }
  const float* float_tile(int64_t tile) const { return floats + tile * kRowTile * k; }
};

const PackedTiles& TilesOf(const MatmulTarget& target) { return *static_cast<const PackedTiles*>(target.weight); }

Rows PrepareRows(const MatmulArgs& args, ThreadPool& pool, const Int8Leaves& int8) {
  Rows rows;
  rows.m = args.m;
  rows.k = args.k;
  bool wants_int8 = false;
  bool wants_floats = false;
  for (const MatmulTarget& target : args.targets) (TilesOf(target).int8() ? wants_int8 : wants_floats) = true;
  static thread_local Scratch quantized_memory;
  static thread_local Scratch float_memory;
  std::byte* quantized = wants_int8 ? quantized_memory.Get(args.m * rows.blocks() * kQuantizedBytes) : nullptr;
  float* floats = wants_floats ? float_memory.Floats(args.m * args.k) : nullptr;
  rows.quantized = quantized;
  rows.floats = floats;

  const auto prepare = [&](int64_t tile, int) {
    const int count = rows.rows_in(tile);
    for (int r = 0; r < count; ++r) {
      const float* x = args.x + (tile * kRowTile + r) * args.x_stride;
      if (quantized) {
        int8.quantize_row(x, rows.blocks(), r, count, quantized + (rows.quantized_tile(tile) - rows.quantized));
      }
      if (floats) {
        float* to = floats + tile * kRowTile * args.k + r;
        for (int64_t i = 0; i < args.k; ++i) to[i * count] = x[i];
      }
    }
  };
  if (args.m * args.k <= kSerialValues) {
    for (int64_t tile = 0; tile < rows.tiles(); ++tile) prepare(tile, 0);
  } else {
    pool.ParallelFor(rows.tiles(), prepare);
  }
  return rows;
}

// Sums [rows][kTileRows] into the output: columns [first, first + count) of rows from `row`.
void Finish(const MatmulTarget& target, const float* sums, int64_t row, int64_t rows, int64_t first, int64_t count) {
  for (int64_t r = 0; r < rows; ++r) {
    float* out = target.out + (row + r) * target.out_stride + first;
    const float* sum = sums + r * kTileRows;
    for (int64_t i = 0; i < count; ++i) {
      const float value = target.bias ? sum[i] + target.bias[first + i] : sum[i];
      out[i] = target.accumulate ? out[i] + value : value;
    }
  }
}

void RunPart(const Part& part, const Rows& x, int64_t first_row_tile, int64_t row_tiles, const Int8Leaves& int8,
             const FloatLeaves& floats) {
  static thread_local Scratch plain_memory;
  const PackedTiles& weight = TilesOf(*part.target);
  const int64_t steps = weight.int8() ? x.blocks() : x.k;
  const int64_t step = weight.int8() ? kInt8Step / kQuantBlock : kFloatStep;
  alignas(64) float sums[kMaxRowTiles * kRowTile * kTileRows];
  for (int64_t tile = part.first; tile < part.first + part.count; ++tile) {
    const std::byte* data = weight.plain() ? nullptr : weight.tile(tile);
    if (weight.plain()) {
      float* dequantized = plain_memory.Floats(x.k * (kTileRows + 1));
      weight.DequantizeTile(tile, dequantized + x.k * kTileRows, dequantized);
      data = reinterpret_cast<const std::byte*>(dequantized);
    }
    std::fill_n(sums, row_tiles * kRowTile * kTileRows, 0.0f);
    for (int64_t first = 0; first < steps; first += step) {
      // A single row tile reads its weights once whatever the steps.
      const int64_t last = row_tiles == 1 ? steps : std::min(steps, first + step);
      for (int64_t i = 0; i < row_tiles; ++i) {
        const int64_t row_tile = first_row_tile + i;
        float* to = sums + i * kRowTile * kTileRows;
        if (weight.int8()) {
          int8.tile(weight.kind(), data, x.quantized_tile(row_tile), first, last, x.rows_in(row_tile), to);
        } else {
          floats.tile(weight.kind(), data, x.float_tile(row_tile), first, last, x.rows_in(row_tile), to);
        }
      }
      if (last == steps) break;
    }
    const int64_t column = tile * kTileRows;
    const int64_t row = first_row_tile * kRowTile;
    const int64_t rows = std::min(row_tiles * kRowTile, x.m - row);
    Finish(*part.target, sums, row, rows, column, std::min<int64_t>(kTileRows, weight.rows() - column));
  }
}

}  // namespace

void RunMatmul(const MatmulArgs& args, ThreadPool& pool, const Int8Leaves& int8, const FloatLeaves& floats) {
  if (args.m <= 0) return;
  int64_t columns = 0;
  for (const MatmulTarget& target : args.targets) {
    GANNET_ASSERT(target.weight->cols() == args.k, "the targets of a matmul have the K of its rows");
    columns += target.weight->rows();
  }
  const Rows x = PrepareRows(args, pool, int8);

  static thread_local std::vector<Part> part_memory;
  std::vector<Part>& parts = part_memory;
  parts.clear();
  const int64_t wanted = pool.size() == 1 ? 1 : pool.size() * kTasksPerThread;
  const int64_t columns_per_part = std::max<int64_t>(1, (columns + wanted - 1) / wanted);
  for (const MatmulTarget& target : args.targets) {
    const PackedTiles& weight = TilesOf(target);
    const int64_t tiles = weight.tiles();
    if (tiles == 0) continue;
    const int64_t count = std::clamp<int64_t>((weight.rows() + columns_per_part / 2) / columns_per_part, 1, tiles);
    for (int64_t i = 0; i < count; ++i) {
      const int64_t first = i * tiles / count;
      parts.push_back({&target, first, (i + 1) * tiles / count - first});
    }
  }
  const int64_t row_bytes = x.floats ? args.k * 4 : x.blocks() * kQuantizedBytes;
  const int64_t tile_bytes = kRowTile * std::max<int64_t>(row_bytes, 1);
  const int64_t row_tiles_per_task = std::clamp<int64_t>(kRowBytes / tile_bytes, 2, kMaxRowTiles);
  const int64_t row_tasks = (x.tiles() + row_tiles_per_task - 1) / row_tiles_per_task;
  const int64_t part_count = static_cast<int64_t>(parts.size());
  const Part* const all_parts = parts.data();
  pool.ParallelFor(row_tasks * part_count, [&](int64_t index, int) {
    const int64_t first = index / part_count * row_tiles_per_task;
    RunPart(all_parts[index % part_count], x, first, std::min(row_tiles_per_task, x.tiles() - first), int8, floats);
  });
}

}  // namespace gannet
