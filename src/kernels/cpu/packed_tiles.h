// Weights packed in tiles of rows (matmul_leaves.h says how a tile lies), the same for every instruction set.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "kernels/cpu/matmul_leaves.h"
#include "kernels/matmul.h"

namespace gannet {

class PackedTiles : public PackedMatrix {
 public:
  // `plain`: the weight stays where it is and its rows are dequantized at each use.
  PackedTiles(const Weight& weight, TileKind kind, bool plain, const char* table);

  TileKind kind() const { return kind_; }
  bool int8() const { return kind_ <= TileKind::kFp4; }
  bool plain() const { return plain_; }
  int64_t tiles() const { return (rows() + kTileRows - 1) / kTileRows; }
  int64_t tile_bytes() const { return tile_bytes_; }
  std::byte* tile(int64_t index) const { return data_.get() + index * tile_bytes_; }
  // [kTileRows] of a tile whose rows have one scale each, for the finished sums; null where the blocks have theirs.
  const float* row_scales(int64_t index) const {
    return row_scales_.empty() ? nullptr : row_scales_.data() + index * kTileRows;
  }

  int64_t bytes() const override { return plain_ ? weight_.bytes() : tiles() * tile_bytes_; }
  bool owns_memory() const override { return !plain_; }
  const char* kernel() const override { return kernel_.c_str(); }

  void PackTile(int64_t index);
  // [K][kTileRows] fp32 of a plain weight; `row` holds K floats.
  void DequantizeTile(int64_t index, float* row, float* tile) const;

 private:
  void PackInt8Tile(int64_t index);
  void PackFp4Tile(int64_t index);
  void PackRowsOfInt8(int64_t index);
  void PackGroupsOfInt4(int64_t index);
  void PackFloatTile(int64_t index);

  Weight weight_;  // `data` is read after packing only when plain
  TileKind kind_;
  bool plain_;
  int64_t tile_bytes_ = 0;
  std::shared_ptr<std::byte> data_;
  std::vector<float> row_scales_;
  std::string kernel_;
};

std::unique_ptr<PackedMatrix> PackTiles(const Weight& weight, const char* table, ThreadPool& pool);

}  // namespace gannet
