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
constexpr int64_t kMaxRows = 256;
// K is walked in steps whose share of a weight tile stays in a core's L1 while the rows pass by, as leaves of integers
// do themselves. Sums go on from step to step in fp32, as they would without.
constexpr int64_t kFloatStep = 192;

struct Part {  // consecutive tiles of one target
  const MatmulTarget* target;
  int64_t first;
  int64_t count;
};

// The rows of one job as the leaves want them: tiles of `tile_rows` rows, one after another.
struct Rows {
  const MatmulArgs* args = nullptr;
  std::byte* quantized = nullptr;
  std::byte* one_plane = nullptr;
  std::byte* bf16 = nullptr;
  float* floats = nullptr;
  int tile_rows = 0;
  int64_t m = 0;
  int64_t k = 0;
  bool wants_quantized = false;
  bool wants_one_plane = false;
  bool wants_bf16 = false;
  bool wants_floats = false;
  void WantFor(const PackedTiles& weight) {
    GANNET_ASSERT(weight.cols() == k, "the targets of a matmul have the K of its rows");
    switch (weight.operands()) {
      case Operands::kInt8:
        (OnePlane(weight.kind()) ? wants_one_plane : wants_quantized) = true;
        break;
      case Operands::kBf16:
        wants_bf16 = true;
        break;
      case Operands::kFp32:
        wants_floats = true;
    }
  }
  int64_t blocks() const { return k / kQuantBlock; }
  int64_t bytes_of(int64_t per_block) const { return (m * blocks() * per_block + 63) / 64 * 64; }
  int64_t quantized_bytes() const { return wants_quantized ? bytes_of(kQuantizedBytes) : 0; }
  int64_t one_plane_bytes() const { return wants_one_plane ? bytes_of(kOnePlaneBytes) + tiles() * kOnePlaneHeader : 0; }
  int64_t bf16_bytes() const { return wants_bf16 ? m * Bf16Bytes(k) : 0; }
  int64_t float_count() const { return wants_floats ? (m * k + kFloatsTogether + 15) / 16 * 16 : 0; }
  int64_t tiles() const { return (m + tile_rows - 1) / tile_rows; }
  int rows_in(int64_t tile) const { return static_cast<int>(std::min<int64_t>(tile_rows, m - tile * tile_rows)); }
  int64_t quantized_stride() const { return tile_rows * blocks() * kQuantizedBytes; }
  int64_t one_plane_stride() const { return kOnePlaneHeader + tile_rows * blocks() * kOnePlaneBytes; }
  int64_t bf16_stride() const { return tile_rows * Bf16Bytes(k); }
  float* float_tile(int64_t tile) const { return floats + tile * tile_rows * k; }
  const float* row(int64_t i) const {
    return args->x + (args->gather.empty() ? i : args->gather[static_cast<size_t>(i)]) * args->x_stride;
  }
};

const PackedTiles& TilesOf(const PackedMatrix* weight) { return *static_cast<const PackedTiles*>(weight); }

void PrepareTile(const Rows& rows, int64_t tile, const MatmulLeaves& leaves) {
  const int count = rows.rows_in(tile);
  for (int r = 0; r < count; ++r) {
    const float* x = rows.row(tile * rows.tile_rows + r);
    if (rows.quantized) {
      leaves.int8.quantize_row(x, rows.blocks(), r, count, rows.quantized + tile * rows.quantized_stride());
    }
    if (rows.one_plane) {
      leaves.int8.quantize_row_fp4(x, rows.blocks(), r, count, rows.one_plane + tile * rows.one_plane_stride());
    }
    if (rows.bf16) leaves.bf16->round_row(x, rows.k, r, count, rows.bf16 + tile * rows.bf16_stride());
    if (rows.floats) {
      float* to = rows.float_tile(tile) + r;
      for (int64_t i = 0; i < rows.k; ++i) to[i * count] = x[i];
    }
  }
}

// The rows of every job, prepared in one region.
void PrepareRows(std::span<const MatmulArgs> jobs, ThreadPool& pool, const MatmulLeaves& leaves,
                 std::vector<Rows>& all) {
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
    Rows rows{.args = &args,
              .tile_rows = leaves.tile_rows,
              .m = args.targets.empty() ? 0 : std::max<int64_t>(args.m, 0),
              .k = args.k};
    for (const MatmulTarget& target : args.targets) {
      rows.WantFor(TilesOf(target.weight));
      if (target.up) rows.WantFor(TilesOf(target.up));
    }
    quantized_bytes += rows.quantized_bytes() + rows.one_plane_bytes() + rows.bf16_bytes();
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
    if (rows.wants_bf16) rows.bf16 = std::exchange(quantized, quantized + rows.bf16_bytes());
    if (rows.wants_floats) rows.floats = std::exchange(floats, floats + rows.float_count());
  }
  const Tile* const first = tiles.data();
  const Rows* const jobs_rows = all.data();
  const auto prepare = [&](int64_t i, int) { PrepareTile(jobs_rows[first[i].job], first[i].tile, leaves); };
  const int64_t count = static_cast<int64_t>(tiles.size());
  if (values <= kSerialValues) {
    for (int64_t i = 0; i < count; ++i) prepare(i, 0);
  } else {
    pool.ParallelFor(count, prepare);
  }
}

// Sums [rows][kTileRows] times `scales` (or 1), plus `bias` (or 0).
void ScaleAndShift(float* sums, const float* scales, const float* bias, int64_t rows, int64_t columns) {
  if (!scales && !bias) return;
  for (int64_t r = 0; r < rows; ++r, sums += kTileRows) {
    for (int64_t i = 0; i < columns; ++i) {
      const float scaled = scales ? sums[i] * scales[i] : sums[i];
      sums[i] = bias ? scaled + bias[i] : scaled;
    }
  }
}

// Into columns [first, first + count) of rows from `row`.
void Store(const MatmulTarget& target, const float* sums, int64_t row, int64_t rows, int64_t first, int64_t count) {
  for (int64_t r = 0; r < rows; ++r, sums += kTileRows) {
    float* out = target.out + (row + r) * target.out_stride + first;
    if (!target.accumulate && count == kTileRows) {
      std::memcpy(out, sums, kTileRows * sizeof(float));
      continue;
    }
    for (int64_t i = 0; i < count; ++i) out[i] = target.accumulate ? out[i] + sums[i] : sums[i];
  }
}

struct Task {
  const Rows* x;
  Part part;
  int64_t first_row_tile;
  int64_t row_tiles;
};

// Sums of rows from `row_tile` with one tile of weights, of integers or floats.
void AddProducts(const PackedTiles& weight, const TileView& tile, const Rows& x, int64_t row_tile, int64_t rows,
                 const MatmulLeaves& leaves, float* sums) {
  std::fill_n(sums, rows * kTileRows, 0.0f);
  if (weight.operands() == Operands::kInt8) {
    const bool one_plane = OnePlane(weight.kind());
    const int64_t stride = one_plane ? x.one_plane_stride() : x.quantized_stride();
    const RowTiles tiles{(one_plane ? x.one_plane : x.quantized) + row_tile * stride, stride, x.tile_rows, rows};
    if (one_plane) {
      leaves.int8.tiles_fp4(weight.kind(), tile.data, tile.scale_range, tiles, x.blocks(), sums);
    } else {
      leaves.int8.tiles(weight.kind(), tile.data, tiles, x.blocks(), sums);
    }
    return;
  }
  // A single row tile reads its weights once whatever the steps.
  const int64_t step = rows <= x.tile_rows ? x.k : kFloatStep;
  for (int64_t first = 0; first < x.k; first += step) {
    const int64_t last = std::min(x.k, first + step);
    for (int64_t row = 0; row < rows; row += x.tile_rows) {
      leaves.floats.tile(weight.kind(), tile.data, x.float_tile(row_tile + row / x.tile_rows), first, last, x.k,
                         static_cast<int>(std::min<int64_t>(x.tile_rows, rows - row)), sums + row * kTileRows);
    }
  }
}

// Products of these rows with tile `index` of a weight, sums [rows][kTileRows], with `bias` of all its rows or null.
void Multiply(const PackedTiles& weight, int64_t index, const float* bias, const Rows& x, int64_t row_tile,
              int64_t rows, const MatmulLeaves& leaves, float* sums) {
  static thread_local Scratch memory;
  const TileView tile = weight.tile(index, memory);
  if (weight.operands() == Operands::kBf16) {
    const RowTiles tiles{x.bf16 + row_tile * x.bf16_stride(), x.bf16_stride(), x.tile_rows, rows};
    leaves.bf16->tiles(tile.data, tiles, x.k, sums);
  } else {
    AddProducts(weight, tile, x, row_tile, rows, leaves, sums);
  }
  const int64_t first = index * kTileRows;
  ScaleAndShift(sums, tile.row_scales, bias ? bias + first : nullptr, rows,
                std::min<int64_t>(kTileRows, weight.rows() - first));
}

void RunPart(const Part& part, const Rows& x, int64_t row_tile, int64_t row_tiles, const MatmulLeaves& leaves) {
  const MatmulTarget& target = *part.target;
  const int64_t row = row_tile * x.tile_rows;
  const int64_t rows = std::min(row_tiles * x.tile_rows, x.m - row);
  alignas(64) float sums[kMaxRows * kTileRows];
  alignas(64) float up_sums[kMaxRows * kTileRows];
  // Few rows take a run of tiles of one matrix, then those of the other: memory is faster at one run than at two.
  const int64_t together = std::max<int64_t>(1, kMaxRows / rows);
  const int64_t end = part.first + part.count;
  for (int64_t first = part.first; first < end; first += together) {
    const int64_t last = std::min(end, first + together);
    for (int64_t tile = first; tile < last; ++tile) {  // on their way while the products are summed
      for (int64_t r = 0; r < rows; ++r) {
        const float* out = target.out + (row + r) * target.out_stride + tile * kTileRows;
        __builtin_prefetch(out, 1);
        __builtin_prefetch(out + kTileRows / 2, 1);
      }
    }
    const auto multiply = [&](const PackedMatrix* weight, const float* bias, float* to) {
      for (int64_t tile = first; tile < last; ++tile, to += rows * kTileRows) {
        Multiply(TilesOf(weight), tile, bias, x, row_tile, rows, leaves, to);
      }
    };
    multiply(target.weight, target.bias, sums);
    if (target.up) {
      multiply(target.up, target.up_bias, up_sums);
      leaves.activate(target.activation, sums, up_sums, (last - first) * rows * kTileRows);
    }
    const float* from = sums;
    for (int64_t tile = first; tile < last; ++tile, from += rows * kTileRows) {
      const int64_t column = tile * kTileRows;
      Store(target, from, row, rows, column, std::min<int64_t>(kTileRows, target.weight->rows() - column));
    }
  }
}

int64_t ColumnsOf(const MatmulTarget& target) { return target.weight->rows() * (target.up ? 2 : 1); }

}  // namespace

void RunMatmul(std::span<const MatmulArgs> jobs, ThreadPool& pool, const MatmulLeaves& leaves) {
  static thread_local std::vector<Rows> rows_memory;
  static thread_local std::vector<Task> task_memory;
  std::vector<Rows>& rows = rows_memory;
  std::vector<Task>& tasks = task_memory;
  PrepareRows(jobs, pool, leaves, rows);
  tasks.clear();
  int64_t columns = 0;
  for (const Rows& x : rows) {
    for (const MatmulTarget& target : x.args->targets) columns += x.m > 0 ? ColumnsOf(target) : 0;
  }
  const int64_t wanted = pool.size() == 1 ? 1 : pool.size() * kTasksPerThread;
  const int64_t columns_per_part = std::max<int64_t>(1, (columns + wanted - 1) / wanted);
  for (const Rows& x : rows) {
    if (x.m == 0) continue;
    const int64_t row_bytes = x.floats      ? x.k * 4
                              : x.quantized ? x.blocks() * kQuantizedBytes
                              : x.bf16      ? Bf16Bytes(x.k)
                                            : x.blocks() * kOnePlaneBytes;
    const int64_t tile_bytes = x.tile_rows * std::max<int64_t>(row_bytes, 1);
    const int64_t step = std::clamp<int64_t>(leaves.row_bytes / tile_bytes, 2, kMaxRows / x.tile_rows) / 2 * 2;
    for (int64_t row_tile = 0; row_tile < x.tiles(); row_tile += step) {
      for (const MatmulTarget& target : x.args->targets) {
        const int64_t tiles = TilesOf(target.weight).tiles();
        if (tiles == 0) continue;
        const int64_t parts =
            std::clamp<int64_t>((ColumnsOf(target) + columns_per_part / 2) / columns_per_part, 1, tiles);
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
    RunPart(first[i].part, *first[i].x, first[i].first_row_tile, first[i].row_tiles, leaves);
  });
}

}  // namespace gannet
