#include "kernels/cpu/packed_tiles.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cstring>

#include "base/result.h"
#include "kernels/cpu/arena.h"

namespace gannet {
namespace {

struct Choice {
  TileKind kind;
  bool plain;
};

Choice ChooseFor(Storage storage) {
  switch (storage) {
    case Storage::kF32:
      return {TileKind::kF32, false};
    case Storage::kF16:
      return {TileKind::kF16, false};
    case Storage::kBF16:
      return {TileKind::kBF16, false};
    case Storage::kQ8_0:
      return {TileKind::kQ8, false};
    case Storage::kQ4_0:
      return {TileKind::kQ4Offset, false};
    case Storage::kQ4_1:
      return {TileKind::kQ4Min, false};
    case Storage::kQ5_0:
    case Storage::kQ5_1:
    case Storage::kQ4_K:
    case Storage::kQ5_K:
    case Storage::kQ6_K:
    case Storage::kMxfp4:
    case Storage::kE2M1:
    case Storage::kE4M3:
    case Storage::kI8:
    case Storage::kU8:
    case Storage::kU4:
    case Storage::kAwq4:
    case Storage::kGptq4:
    case Storage::kGptq8:
      return {TileKind::kF32, true};
  }
  GANNET_ASSERT(false, "a weight has a known storage");
  return {};
}

std::string Lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), [](unsigned char c) { return std::tolower(c); });
  return out;
}

}  // namespace

PackedTiles::PackedTiles(const Weight& weight, TileKind kind, bool plain, const char* table)
    : PackedMatrix(weight.rows, weight.cols), weight_(weight), kind_(kind), plain_(plain) {
  const std::string storage = Lower(InfoOf(weight.storage).name);
  if (plain) {
    GANNET_ASSERT(weight.dequantize_row != nullptr, "a weight has a row dequantizer");
    kernel_ = fmt::format("{} dequantized x fp32 {} (plain)", storage, table);
    return;
  }
  kernel_ = fmt::format("{} x {} {}", storage, int8() ? "int8" : "fp32", table);
  if (int8()) {
    GANNET_ASSERT(cols() % kQuantBlock == 0, "a quantized row holds whole blocks");
    tile_bytes_ = cols() / kQuantBlock * BlockBytes(kind);
  } else {
    tile_bytes_ = cols() * kTileRows * (kind == TileKind::kF32 ? 4 : 2);
  }
  data_ = AllocatePacked(tiles() * tile_bytes_);
}

void PackedTiles::PackTile(int64_t index) { int8() ? PackInt8Tile(index) : PackFloatTile(index); }

void PackedTiles::PackInt8Tile(int64_t index) {
  const int64_t blocks = cols() / kQuantBlock;
  const int64_t block_bytes = InfoOf(weight_.storage).block_bytes;
  const bool has_min = kind_ == TileKind::kQ4Min;
  const int64_t header = has_min ? 4 : 2;  // bytes of scale (and minimum) in the file
  const int groups = kind_ == TileKind::kQ8 ? 8 : 4;
  for (int64_t r = 0; r < std::min<int64_t>(kTileRows, rows() - index * kTileRows); ++r) {
    const std::byte* from = weight_.row(index * kTileRows + r);
    for (int64_t b = 0; b < blocks; ++b, from += block_bytes) {
      std::byte* block = tile(index) + b * BlockBytes(kind_);
      std::memcpy(block + 2 * r, from, 2);
      if (has_min) std::memcpy(block + 64 + 2 * r, from + 2, 2);
      std::byte* quants = block + ScaleBytes(kind_) + r / 16 * HalfQuantBytes(kind_) + 4 * (r % 16);
      for (int g = 0; g < groups; ++g, quants += 64) {
        std::memcpy(quants, from + header + 4 * g, 4);
        if (kind_ != TileKind::kQ8) continue;
        for (int i = 0; i < 4; ++i) quants[i] ^= std::byte{0x80};
      }
    }
  }
}

void PackedTiles::PackFloatTile(int64_t index) {
  const int64_t size = kind_ == TileKind::kF32 ? 4 : 2;
  for (int64_t r = 0; r < std::min<int64_t>(kTileRows, rows() - index * kTileRows); ++r) {
    const std::byte* from = weight_.row(index * kTileRows + r);
    std::byte* to = tile(index) + r * size;
    const int64_t step = weight_.dense() ? size : weight_.col_bytes;
    for (int64_t k = 0; k < cols(); ++k) std::memcpy(to + k * kTileRows * size, from + k * step, size);
  }
}

void PackedTiles::DequantizeTile(int64_t index, float* row, float* tile) const {
  const int64_t first = index * kTileRows;
  for (int64_t r = 0; r < kTileRows; ++r) {
    if (first + r < rows()) {
      weight_.dequantize_row(weight_, first + r, row);
    } else {
      std::fill_n(row, cols(), 0.0f);
    }
    for (int64_t k = 0; k < cols(); ++k) tile[k * kTileRows + r] = row[k];
  }
}

std::unique_ptr<PackedMatrix> PackTiles(const Weight& weight, const char* table, ThreadPool& pool) {
  const Choice choice = ChooseFor(weight.storage);
  auto packed = std::make_unique<PackedTiles>(weight, choice.kind, choice.plain, table);
  if (!choice.plain) pool.ParallelFor(packed->tiles(), [&](int64_t index, int) { packed->PackTile(index); });
  return packed;
}

}  // namespace gannet
