// Weights packed in tiles of rows (matmul_leaves.h says how a tile lies), the same for every instruction set.
#pragma once

#include <algorithm>
#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "kernels/cpu/matmul_leaves.h"
#include "kernels/cpu/scratch.h"
#include "kernels/cpu/tile_choice.h"
#include "kernels/matmul.h"

namespace gannet {

// What the leaves read of a tile.
struct TileView {
  const std::byte* data = nullptr;
  const float* row_scales = nullptr;  // [kTileRows] of rows that have one scale each, for the finished sums, or null
  ScaleRange scale_range;             // of the scales of kFp4
};

class PackedTiles : public PackedMatrix {
 public:
  // `bf16`: the table has Bf16Leaves.
  PackedTiles(const Weight& weight, const TileChoice& choice, const char* table, bool bf16);

  TileKind kind() const { return kind_; }
  Operands operands() const override { return operands_; }
  bool plain() const { return plain_; }
  int64_t tiles() const { return (rows() + kTileRows - 1) / kTileRows; }
  // Packed by whoever asks first; safe from any thread. What is not kept is in `memory`.
  TileView tile(int64_t index, Scratch& memory) const;

  int64_t bytes() const override { return plain_ ? weight_.bytes() : tiles() * tile_bytes_; }
  bool owns_memory() const override { return !plain_ && unpacked_.load(std::memory_order_acquire) == 0; }
  std::span<const std::byte> streamed() const override;
  void Settle(ThreadPool& pool) override;
  void set_keeps(bool keeps) override { keeps_ = keeps; }
  const char* kernel() const override { return kernel_.c_str(); }

 private:
  enum class State : uint8_t { kUntouched, kBeingPacked, kPacked };
  struct Place {  // of a tile, zeros before
    std::byte* data;
    float* row_scales;        // null where the blocks have theirs
    ScaleRange* scale_range;  // of kFp4
  };

  // [K][kTileRows] fp32 of a plain weight; `row` holds K floats.
  void DequantizeTile(int64_t index, float* row, float* tile) const;
  bool packed(int64_t index) const {
    return states_[static_cast<size_t>(index)].load(std::memory_order_acquire) == State::kPacked;
  }
  Place PlaceOf(int64_t index) const;
  int64_t RowsIn(int64_t index) const { return std::min<int64_t>(kTileRows, rows() - index * kTileRows); }
  // Where the quants of row `r` of a tile begin in a block whose scales begin at `block`.
  std::byte* QuantsOf(std::byte* block, int64_t r) const {
    return block + ScaleBytes(kind_) + r / 16 * HalfQuantBytes(kind_) + 4 * (r % 16);
  }
  void PackOnce(int64_t index) const;
  void PackTile(int64_t index, const Place& to) const;
  template <typename Pack>
  void ForEachBlock(int64_t index, Pack pack) const;
  void PackInt8Tile(int64_t index, const Place& to) const;
  void PackFp4Tile(int64_t index, const Place& to) const;
  void PackNvFp4Tile(int64_t index, const Place& to) const;
  void PackRowsOfInt8(int64_t index, const Place& to) const;
  void PackFiveBitTile(int64_t index, const Place& to) const;  // of Q5_0 and Q5_1
  void PackKTile(int64_t index, const Place& to) const;
  void PackGroupsOfInt4(int64_t index, const Place& to) const;
  void PackFloatTile(int64_t index, const Place& to) const;
  void PackE4M3Tile(int64_t index, const Place& to) const;
  void PackTurnedTile(int64_t index, const Place& to) const;

  Weight weight_;
  TileKind kind_;
  bool plain_;
  Operands operands_;
  bool turned_;
  bool keeps_ = true;
  int64_t tile_bytes_ = 0;
  std::shared_ptr<std::byte> data_;
  std::unique_ptr<std::atomic<State>[]> states_;  // of each tile
  mutable std::atomic<int64_t> unpacked_ = 0;     // tiles
  mutable std::vector<float> row_scales_;         // [tiles][kTileRows], or none
  mutable std::vector<ScaleRange> scale_ranges_;  // of each tile
  std::string kernel_;
};

std::unique_ptr<PackedMatrix> PackTiles(const Weight& weight, const char* table, bool bf16);
// Null where no kind holds the transpose.
std::unique_ptr<PackedMatrix> PackTransposedTiles(const Weight& weight, const char* table, bool bf16);

}  // namespace gannet
