#include "kernels/cpu/packed_tiles.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstring>

#include "base/dtype.h"
#include "base/result.h"
#include "kernels/cpu/arena.h"

namespace gannet {
namespace {

struct Choice {
  TileKind kind;
  bool plain;
};

// Whole blocks of 32 with a power of two each, and nothing else.
bool IsMx(const Weight& weight) {
  const Scales& scales = *weight.scales;
  return scales.type == ScaleType::kE8M0 && scales.group_rows == 1 && scales.group_cols == kQuantBlock &&
         scales.col_step == 1 && scales.factor == 1 && weight.cols % kQuantBlock == 0 &&
         weight.first_col % kQuantBlock == 0;
}

// Bytes of a float scale; 0 of the other types.
int64_t SizeOf(ScaleType type) {
  return type == ScaleType::kF32 ? 4 : type == ScaleType::kF16 || type == ScaleType::kBF16 ? 2 : 0;
}

// Row and column of the whole matrix.
float ScaleAt(const Scales& scales, int64_t row, int64_t column) {
  const int64_t at = row / scales.group_rows * scales.row_step + column / scales.group_cols * scales.col_step;
  const std::byte* from = scales.data + SizeOf(scales.type) * at;
  uint16_t half;
  float whole;
  if (scales.type == ScaleType::kF32) {
    std::memcpy(&whole, from, 4);
    return whole;
  }
  std::memcpy(&half, from, 2);
  return scales.type == ScaleType::kF16 ? F16ToFloat(half) : BF16ToFloat(half);
}

// Whole blocks of 32, and one scale for a row.
bool HasRowScales(const Weight& weight) {
  const Scales& scales = *weight.scales;
  return SizeOf(scales.type) != 0 && scales.factor == 1 && weight.first_col + weight.cols <= scales.group_cols &&
         weight.cols % kQuantBlock == 0 && weight.first_col == 0;
}

// Whole blocks of 32 columns in order, with scales that binary16 holds.
bool HasGroupScales(const Weight& weight) {
  const Scales& scales = *weight.scales;
  if (SizeOf(scales.type) == 0 || scales.factor != 1 || scales.group_of || scales.group_cols % kQuantBlock != 0 ||
      weight.cols % kQuantBlock != 0 || weight.first_col % kQuantBlock != 0) {
    return false;
  }
  if (scales.type == ScaleType::kF16) return true;
  for (int64_t r = 0; r < weight.rows; ++r) {
    for (int64_t c = 0; c < weight.cols; c += kQuantBlock) {
      const float scale = ScaleAt(scales, weight.first_row + r * weight.row_stride, weight.first_col + c);
      if (F16ToFloat(FloatToF16(scale)) != scale) return false;
    }
  }
  return true;
}

Choice ChooseFor(const Weight& weight) {
  switch (weight.storage) {
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
    case Storage::kMxfp4:
      return {TileKind::kFp4, false};
    case Storage::kE2M1:
      return IsMx(weight) ? Choice{TileKind::kFp4, false} : Choice{TileKind::kF32, true};
    case Storage::kI8:
      return HasRowScales(weight) ? Choice{TileKind::kQ8, false} : Choice{TileKind::kF32, true};
    case Storage::kU4:
    case Storage::kAwq4:
    case Storage::kGptq4:
      return HasGroupScales(weight) ? Choice{TileKind::kQ4Zero, false} : Choice{TileKind::kF32, true};
    case Storage::kQ4_1:
      return {TileKind::kQ4Min, false};
    case Storage::kQ5_0:
    case Storage::kQ5_1:
    case Storage::kQ4_K:
    case Storage::kQ5_K:
    case Storage::kQ6_K:
    case Storage::kE4M3:
    case Storage::kU8:
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
    const int64_t blocks = cols() / kQuantBlock;
    tile_bytes_ = kind == TileKind::kFp4 ? (blocks + 1) / 2 * kFp4PairBytes : blocks * BlockBytes(kind);
  } else {
    tile_bytes_ = cols() * kTileRows * (kind == TileKind::kF32 ? 4 : 2);
  }
  data_ = AllocatePacked(tiles() * tile_bytes_);
  if (weight.storage == Storage::kI8) row_scales_.resize(static_cast<size_t>(tiles() * kTileRows));
}

void PackedTiles::PackTile(int64_t index) {
  if (kind_ == TileKind::kFp4) return PackFp4Tile(index);
  if (kind_ == TileKind::kQ4Zero) return PackGroupsOfInt4(index);
  if (weight_.storage == Storage::kI8) return PackRowsOfInt8(index);
  int8() ? PackInt8Tile(index) : PackFloatTile(index);
}

void PackedTiles::PackFp4Tile(int64_t index) {
  const int64_t blocks = cols() / kQuantBlock;
  const bool ggml = weight_.storage == Storage::kMxfp4;  // scale and quants together; value j + 16 above value j
  for (int64_t r = 0; r < std::min<int64_t>(kTileRows, rows() - index * kTileRows); ++r) {
    const std::byte* from = weight_.row(index * kTileRows + r);
    const std::byte* scales = nullptr;
    if (!ggml) {
      const int64_t row = weight_.first_row + (index * kTileRows + r) * weight_.row_stride;
      scales = weight_.scales->data + row * weight_.scales->row_step + weight_.first_col / kQuantBlock;
    }
    for (int64_t b = 0; b < blocks; ++b) {
      std::byte* pair = tile(index) + b / 2 * kFp4PairBytes;
      pair[32 * (b % 2) + r] = ggml ? from[17 * b] : scales[b];
      std::byte codes[kQuantBlock / 2];
      if (ggml) {
        std::memcpy(codes, from + 17 * b + 1, sizeof(codes));
      } else {  // two neighbours in a byte
        const std::byte* const pairs = from + 16 * b;
        for (int i = 0; i < 16; ++i) {
          const std::byte low = pairs[i / 2], high = pairs[8 + i / 2];
          codes[i] = i % 2 == 0 ? (low & std::byte{15}) | high << 4 : low >> 4 | (high & std::byte{0xf0});
        }
      }
      std::byte* quants = pair + 64 + 512 * (b % 2) + r / 16 * 256 + 4 * (r % 16);
      for (int g = 0; g < 4; ++g) std::memcpy(quants + 64 * g, codes + 4 * g, 4);
    }
  }
}

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

// Blocks whose scale is 1; a row's own waits for the end of its sum.
void PackedTiles::PackRowsOfInt8(int64_t index) {
  constexpr uint16_t kOne = 0x3c00;
  for (int64_t r = 0; r < std::min<int64_t>(kTileRows, rows() - index * kTileRows); ++r) {
    const std::byte* from = weight_.row(index * kTileRows + r);
    const int64_t row = weight_.first_row + (index * kTileRows + r) * weight_.row_stride;
    row_scales_[static_cast<size_t>(index * kTileRows + r)] = ScaleAt(*weight_.scales, row, 0);
    for (int64_t b = 0; b < cols() / kQuantBlock; ++b, from += kQuantBlock) {
      std::byte* block = tile(index) + b * BlockBytes(kind_);
      std::memcpy(block + 2 * r, &kOne, 2);
      std::byte* quants = block + ScaleBytes(kind_) + r / 16 * HalfQuantBytes(kind_) + 4 * (r % 16);
      for (int i = 0; i < kQuantBlock; ++i) quants[i / 4 * 64 + i % 4] = from[i] ^ std::byte{0x80};
    }
  }
}

// Every way of packing 4-bit integers alike, from what the row means: value / scale is a whole number again, and a
// block's smallest one, at least -15 and at most 15 below its largest, becomes its zero point.
void PackedTiles::PackGroupsOfInt4(int64_t index) {
  std::vector<float> values(static_cast<size_t>(cols()));
  for (int64_t r = 0; r < std::min<int64_t>(kTileRows, rows() - index * kTileRows); ++r) {
    const int64_t at = index * kTileRows + r;
    weight_.dequantize_row(weight_, at, values.data());
    for (int64_t b = 0; b < cols() / kQuantBlock; ++b) {
      const float scale =
          ScaleAt(*weight_.scales, weight_.first_row + at * weight_.row_stride, weight_.first_col + b * kQuantBlock);
      int codes[kQuantBlock];
      int lowest = 0;
      for (int i = 0; i < kQuantBlock; ++i) {
        const float code = scale != 0 ? std::nearbyint(values[static_cast<size_t>(b * kQuantBlock + i)] / scale) : 0.0f;
        codes[i] = static_cast<int>(std::clamp(code, -15.0f, 15.0f));
        lowest = std::min(lowest, codes[i]);
      }
      std::byte* block = tile(index) + b * BlockBytes(kind_);
      const uint16_t half = FloatToF16(scale);
      std::memcpy(block + 2 * r, &half, 2);
      block[64 + r] = static_cast<std::byte>(-lowest);
      std::byte* quants = block + ScaleBytes(kind_) + r / 16 * HalfQuantBytes(kind_) + 4 * (r % 16);
      for (int i = 0; i < kQuantBlock / 2; ++i) {
        quants[i / 4 * 64 + i % 4] = static_cast<std::byte>((codes[i] - lowest) | (codes[i + 16] - lowest) << 4);
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
  const Choice choice = ChooseFor(weight);
  auto packed = std::make_unique<PackedTiles>(weight, choice.kind, choice.plain, table);
  if (!choice.plain) pool.ParallelFor(packed->tiles(), [&](int64_t index, int) { packed->PackTile(index); });
  return packed;
}

}  // namespace gannet
