#include "kernels/cpu/matmul_driver.h"

#include <algorithm>
#include <cstring>
#include <utility>
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

// The rows of one job as the leaves want them: tiles of kRowTile rows, one after another.
struct Rows {
  const MatmulArgs* args = nullptr;
  std::byte* quantized = nullptr;
  std::byte* one_plane = nullptr;
  float* floats = nullptr;
  int64_t m = 0;
  int64_t k = 0;
  bool wants_quantized = false;
  bool wants_one_plane = false;
  bool wants_floats = false;
  int64_t blocks() const { return k / kQuantBlock; }
  int64_t bytes_of(int64_t per_block) const { return (m * blocks() * per_block + 63) / 64 * 64; }
  int64_t quantized_bytes() const { return wants_quantized ? bytes_of(kQuantizedBytes) : 0; }
  int64_t one_plane_bytes() const { return wants_one_plane ? bytes_of(kOnePlaneBytes) + tiles() * kOnePlaneHeader : 0; }
  int64_t float_count() const { return wants_floats ? (m * k + 15) / 16 * 16 : 0; }
  int64_t tiles() const { return (m + kRowTile - 1) / kRowTile; }
  int rows_in(int64_t tile) const { return static_cast<int>(std::min<int64_t>(kRowTile, m - tile * kRowTile)); }
  std::byte* quantized_tile(int64_t tile) const { return quantized + tile * kRowTile * blocks() * kQuantizedBytes; }
  std::byte* one_plane_tile(int64_t tile) const {
    return one_plane + tile * (kOnePlaneHeader + kRowTile * blocks() * kOnePlaneBytes);
  }
  float* float_tile(int64_t tile) const { return floats + tile * kRowTile * k; }
  const float* row(int64_t i) const {
    return args->x + (args->gather.empty() ? i : args->gather[static_cast<size_t>(i)]) * args->x_stride;
  }
};

const PackedTiles& TilesOf(const MatmulTarget& target) { return *static_cast<const PackedTiles*>(target.weight); }

void PrepareTile(const Rows& rows, int64_t tile, const Int8Leaves& int8) {
  const int count = rows.rows_in(tile);
  for (int r = 0; r < count; ++r) {
    const float* x = rows.row(tile * kRowTile + r);
    if (rows.quantized) int8.quantize_row(x, rows.blocks(), r, count, rows.quantized_tile(tile));
    if (rows.one_plane) int8.quantize_row_fp4(x, rows.blocks(), r, count, rows.one_plane_tile(tile));
    if (rows.floats) {
      float* to = rows.float_tile(tile) + r;
      for (int64_t i = 0; i < rows.k; ++i) to[i * count] = x[i];
    }
  }
}

// The rows of every job, prepared in one region.
void PrepareRows(std::span<const MatmulArgs> jobs, ThreadPool& pool, const Int8Leaves& int8, std::vector<Rows>& all) {
  struct Tile {
    size_t job;
    int64_t tile;
  };
  static thread_local Scratch quantized_memory;
  static thread_local Scratch float_memory;
  static thread_local std::vector<Tile> tile_memory;
  std::vector<Tile>& tiles = tile_memory;
  tiles.clear();
  all.clear();
  int64_t quantized_bytes = 0;
  int64_t float_count = 0;
  int64_t values = 0;
  for (const MatmulArgs& args : jobs) {
    Rows rows{.args = &args, .m = args.targets.empty() ? 0 : std::max<int64_t>(args.m, 0), .k = args.k};
    for (const MatmulTarget& target : args.targets) {
      GANNET_ASSERT(target.weight->cols() == args.k, "the targets of a matmul have the K of its rows");
      const PackedTiles& tiles = TilesOf(target);
      (OnePlane(tiles.kind()) ? rows.wants_one_plane : tiles.int8() ? rows.wants_quantized : rows.wants_floats) = true;
    }
    quantized_bytes += rows.quantized_bytes() + rows.one_plane_bytes();
    float_count += rows.float_count();
    values += rows.m * rows.k;
    for (int64_t tile = 0; tile < rows.tiles(); ++tile) tiles.push_back({all.size(), tile});
    all.push_back(rows);
  }
  std::byte* quantized = quantized_memory.Get(quantized_bytes);
  float* floats = float_memory.Floats(float_count);
  for (Rows& rows : all) {
    if (rows.wants_quantized) rows.quantized = std::exchange(quantized, quantized + rows.quantized_bytes());
    if (rows.wants_one_plane) rows.one_plane = std::exchange(quantized, quantized + rows.one_plane_bytes());
    if (rows.wants_floats) rows.floats = std::exchange(floats, floats + rows.float_count());
  }
  const Tile* const first = tiles.data();
  const Rows* const jobs_rows = all.data();
  const auto prepare = [&](int64_t i, int) { PrepareTile(jobs_rows[first[i].job], first[i].tile, int8); };
  const int64_t count = static_cast<int64_t>(tiles.size());
  if (values <= kSerialValues) {
    for (int64_t i = 0; i < count; ++i) prepare(i, 0);
  } else {
    pool.ParallelFor(count, prepare);
  }
}

// Sums [rows][kTileRows] times `scales` (or 1) into the output: columns [first, first + count) of rows from `row`.
void Finish(const MatmulTarget& target, const float* sums, const float* scales, int64_t row, int64_t rows,
            int64_t first, int64_t count) {
  for (int64_t r = 0; r < rows; ++r) {
    float* out = target.out + (row + r) * target.out_stride + first;
    const float* sum = sums + r * kTileRows;
    if (!scales && !target.bias && !target.accumulate && count == kTileRows) {
      std::memcpy(out, sum, kTileRows * sizeof(float));
      continue;
    }
    for (int64_t i = 0; i < count; ++i) {
      const float scaled = scales ? sum[i] * scales[i] : sum[i];
      const float value = target.bias ? scaled + target.bias[first + i] : scaled;
      out[i] = target.accumulate ? out[i] + value : value;
    }
  }
}

struct Task {
  const Rows* x;
  Part part;
  int64_t first_row_tile;
  int64_t row_tiles;
};

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
        if (OnePlane(weight.kind())) {
          const std::byte* rows = x.one_plane_tile(row_tile);
          const bool normal = weight.kind() == TileKind::kFp4 &&
                              ProductsAreNormal(weight.scale_range(tile), *reinterpret_cast<const ScaleRange*>(rows));
          int8.tile_fp4(weight.kind(), data, rows, first, last, x.rows_in(row_tile), normal, to);
        } else if (weight.int8()) {
          int8.tile(weight.kind(), data, x.quantized_tile(row_tile), first, last, x.rows_in(row_tile), to);
        } else {
          floats.tile(weight.kind(), data, x.float_tile(row_tile), first, last, x.k, x.rows_in(row_tile), to);
        }
      }
      if (last == steps) break;
    }
    const int64_t column = tile * kTileRows;
    const int64_t row = first_row_tile * kRowTile;
    const int64_t rows = std::min(row_tiles * kRowTile, x.m - row);
    Finish(*part.target, sums, weight.row_scales(tile), row, rows, column,
           std::min<int64_t>(kTileRows, weight.rows() - column));
  }
}

}  // namespace

void RunMatmul(std::span<const MatmulArgs> jobs, ThreadPool& pool, const Int8Leaves& int8, const FloatLeaves& floats) {
  static thread_local std::vector<Rows> rows_memory;
  static thread_local std::vector<Task> task_memory;
  std::vector<Rows>& rows = rows_memory;
  std::vector<Task>& tasks = task_memory;
  PrepareRows(jobs, pool, int8, rows);
  tasks.clear();
  int64_t columns = 0;
  for (const Rows& x : rows) {
    for (const MatmulTarget& target : x.args->targets) columns += x.m > 0 ? target.weight->rows() : 0;
  }
  const int64_t wanted = pool.size() == 1 ? 1 : pool.size() * kTasksPerThread;
  const int64_t columns_per_part = std::max<int64_t>(1, (columns + wanted - 1) / wanted);
  for (const Rows& x : rows) {
    if (x.m == 0) continue;
    const int64_t row_bytes = x.floats ? x.k * 4 : x.blocks() * (x.quantized ? kQuantizedBytes : kOnePlaneBytes);
    const int64_t tile_bytes = kRowTile * std::max<int64_t>(row_bytes, 1);
    const int64_t step = std::clamp<int64_t>(kRowBytes / tile_bytes, 2, kMaxRowTiles);
    for (int64_t row_tile = 0; row_tile < x.tiles(); row_tile += step) {
      for (const MatmulTarget& target : x.args->targets) {
        const int64_t tiles = TilesOf(target).tiles();
        if (tiles == 0) continue;
        const int64_t parts =
            std::clamp<int64_t>((target.weight->rows() + columns_per_part / 2) / columns_per_part, 1, tiles);
        for (int64_t i = 0; i < parts; ++i) {
          const int64_t first = i * tiles / parts;
          const Part part{&target, first, (i + 1) * tiles / parts - first};
          tasks.push_back({&x, part, row_tile, std::min(step, x.tiles() - row_tile)});
        }
      }
    }
  }
  const Task* const first = tasks.data();
  pool.ParallelFor(static_cast<int64_t>(tasks.size()), [&](int64_t i, int) {
    RunPart(first[i].part, *first[i].x, first[i].first_row_tile, first[i].row_tiles, int8, floats);
  });
}

}  // namespace gannet
