// Tiles of bytes whose scale changes with k: FP8, and transposes of quantized weights.
#include <algorithm>
#include <cstring>
#include <limits>

#include "base/dtype.h"
#include "kernels/cpu/pack_blocks-inl.h"

namespace gannet {

void PackedTiles::PackE4M3Tile(int64_t index, const Place& to) const {
  float* const scales = reinterpret_cast<float*>(to.data);
  std::byte* const codes = reinterpret_cast<std::byte*>(scales + cols());
  const int64_t first = weight_.whole_row(index * kTileRows);
  for (int64_t k = 0; k < cols(); ++k) {
    scales[k] = kE4M3Unit * (to.row_scales ? 1.0f : weight_.scales->at(first, weight_.first_col + k));
  }
  for (int64_t r = 0; r < RowsIn(index); ++r) {
    const std::byte* from = weight_.row(index * kTileRows + r);
    if (to.row_scales) {
      to.row_scales[r] = weight_.scales->at(weight_.whole_row(index * kTileRows + r), weight_.first_col);
    }
    for (int64_t k = 0; k < cols(); ++k) {
      codes[k * kTileRows + r] = from[k];
      if (IsNanE4M3(from[k])) scales[k] = std::numeric_limits<float>::quiet_NaN();
    }
  }
}

// Rows of the tile are 32 columns of the stored matrix, a block of theirs with one scale in each of its rows.
void PackedTiles::PackTurnedTile(int64_t index, const Place& to) const {
  constexpr int8_t kTwiceE2M1[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};
  float* const scales = reinterpret_cast<float*>(to.data);
  int8_t* values = reinterpret_cast<int8_t*>(scales + cols());
  for (int64_t k = 0; k < cols(); ++k, values += kTileRows) {
    const StorageInfo& info = InfoOf(weight_.storage);
    const std::byte* from = weight_.row(k) + index * kQuantBlock / info.block_values * info.block_bytes;
    const int64_t row = weight_.whole_row(k);
    const int64_t column = weight_.first_col + index * kQuantBlock;
    uint16_t half;
    std::memcpy(&half, from, 2);
    switch (weight_.storage) {
      case Storage::kI8:
        scales[k] = weight_.scales->at(row, column);
        std::memcpy(values, from, kQuantBlock);
        break;
      case Storage::kE4M3:
        scales[k] = kE4M3Unit * weight_.scales->at(row, column);
        std::memcpy(values, from, kQuantBlock);
        if (std::any_of(from, from + kQuantBlock, IsNanE4M3)) scales[k] = std::numeric_limits<float>::quiet_NaN();
        break;
      case Storage::kQ8_0:
        scales[k] = F16ToFloat(half);
        std::memcpy(values, from + 2, kQuantBlock);
        break;
      case Storage::kQ4_0:
        scales[k] = F16ToFloat(half);
        for (int i = 0; i < 16; ++i) {
          const int byte = std::to_integer<int>(from[2 + i]);
          values[i] = static_cast<int8_t>((byte & 15) - 8);
          values[i + 16] = static_cast<int8_t>((byte >> 4) - 8);
        }
        break;
      case Storage::kMxfp4:
        scales[k] = 0.5f * E8M0ToFloat(std::to_integer<uint8_t>(from[0]));
        for (int i = 0; i < 16; ++i) {
          const size_t byte = std::to_integer<size_t>(from[1 + i]);
          values[i] = kTwiceE2M1[byte & 15];
          values[i + 16] = kTwiceE2M1[byte >> 4];
        }
        break;
      default:  // kE2M1
        scales[k] = 0.5f * weight_.scales->at(row, column);
        for (int i = 0; i < 16; ++i) {
          const size_t byte = std::to_integer<size_t>(from[i]);
          values[2 * i] = kTwiceE2M1[byte & 15];
          values[2 * i + 1] = kTwiceE2M1[byte >> 4];
        }
    }
  }
}

}  // namespace gannet
