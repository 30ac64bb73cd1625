#include "kernels/cpu/tile_choice.h"

#include "base/dtype.h"
#include "base/result.h"

namespace gannet {
namespace {

bool IsFloat(ScaleType type) { return type == ScaleType::kF32 || type == ScaleType::kF16 || type == ScaleType::kBF16; }

// Whole blocks of 32 with a power of two each, and nothing else.
bool IsMx(const Weight& weight) {
  const Scales& scales = *weight.scales;
  return scales.type == ScaleType::kE8M0 && scales.group_rows == 1 && scales.group_cols == kQuantBlock &&
         scales.col_step == 1 && scales.factor == 1 && weight.cols % kQuantBlock == 0 &&
         weight.first_col % kQuantBlock == 0;
}

// Whole blocks of 32 in two halves with an e4m3 each, and one factor.
bool IsNv(const Weight& weight) {
  const Scales& scales = *weight.scales;
  return scales.type == ScaleType::kE4M3 && scales.group_rows == 1 && scales.group_cols == kQuantBlock / 2 &&
         scales.col_step == 1 && weight.cols % kQuantBlock == 0 && weight.first_col % kQuantBlock == 0;
}

// Whole blocks of 32, and one scale for a row.
bool HasRowScales(const Weight& weight) {
  const Scales& scales = *weight.scales;
  return IsFloat(scales.type) && scales.factor == 1 && weight.first_col + weight.cols <= scales.group_cols &&
         weight.cols % kQuantBlock == 0;
}

// Whole blocks of 32 columns in order, with scales that binary16 holds.
bool HasGroupScales(const Weight& weight) {
  const Scales& scales = *weight.scales;
  if (!IsFloat(scales.type) || scales.factor != 1 || scales.group_of || scales.group_cols % kQuantBlock != 0 ||
      weight.cols % kQuantBlock != 0 || weight.first_col % kQuantBlock != 0) {
    return false;
  }
  if (scales.type == ScaleType::kF16) return true;
  for (int64_t r = 0; r < weight.rows; ++r) {
    for (int64_t c = 0; c < weight.cols; c += scales.group_cols - (weight.first_col + c) % scales.group_cols) {
      const float scale = scales.at(weight.whole_row(r), weight.first_col + c);
      if (F16ToFloat(FloatToF16(scale)) != scale) return false;
    }
  }
  return true;
}

// Scales that 32 rows from a multiple of 32 share, or one for a row.
TileChoice ChooseE4M3(const Weight& weight) {
  const Scales& scales = *weight.scales;
  if (!IsFloat(scales.type) || scales.factor != 1 || scales.group_of) return {TileKind::kF32, true};
  if (scales.group_rows == 1) {
    const bool one = weight.first_col + weight.cols <= scales.group_cols;
    return one ? TileChoice{TileKind::kE4M3, false, false, true} : TileChoice{TileKind::kF32, true};
  }
  const bool shared =
      weight.whole_row(weight.rows - 1) < scales.group_rows ||
      (scales.group_rows % kTileRows == 0 && weight.first_row % kTileRows == 0 && weight.row_stride == 1);
  return {shared ? TileKind::kE4M3 : TileKind::kF32, !shared};
}

}  // namespace

TileChoice ChooseTile(const Weight& weight) {
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
      if (IsNv(weight)) return {TileKind::kNvFp4, false, false, true};
      return IsMx(weight) ? TileChoice{TileKind::kFp4, false} : TileChoice{TileKind::kF32, true};
    case Storage::kI8:
      return HasRowScales(weight) ? TileChoice{TileKind::kQ8, false, false, true} : TileChoice{TileKind::kF32, true};
    case Storage::kU4:
    case Storage::kAwq4:
    case Storage::kGptq4:
      return HasGroupScales(weight) ? TileChoice{TileKind::kQ4Zero, false} : TileChoice{TileKind::kF32, true};
    case Storage::kQ4_1:
      return {TileKind::kQ4Min, false};
    case Storage::kQ5_0:
      return {TileKind::kQ8, false};
    case Storage::kQ5_1:
      return {TileKind::kQ8Min, false};
    case Storage::kQ4_K:
      return {TileKind::kQ4K, false};
    case Storage::kQ5_K:
      return {TileKind::kQ5K, false};
    case Storage::kQ6_K:
      return {TileKind::kQ6K, false};
    case Storage::kE4M3:
      return ChooseE4M3(weight);
    case Storage::kU8:
    case Storage::kGptq8:
      return {TileKind::kF32, true};
  }
  GANNET_ASSERT(false, "a weight has a known storage");
  return {};
}

TileChoice ChooseTransposed(const Weight& weight) {
  constexpr TileChoice kNone{TileKind::kF32, true};
  constexpr TileChoice kInt8{TileKind::kI8, false, true};
  if (weight.cols % kQuantBlock != 0 || weight.first_col % kQuantBlock != 0) return kNone;
  switch (weight.storage) {
    case Storage::kQ8_0:
    case Storage::kQ4_0:
    case Storage::kMxfp4:
      return kInt8;
    case Storage::kE2M1:
      return IsMx(weight) ? kInt8 : kNone;
    case Storage::kI8:
    case Storage::kE4M3: {
      const Scales& scales = *weight.scales;
      const bool blocks = scales.group_cols % kQuantBlock == 0 || weight.first_col + weight.cols <= scales.group_cols;
      if (!IsFloat(scales.type) || scales.factor != 1 || scales.group_of || !blocks) return kNone;
      return weight.storage == Storage::kI8 ? kInt8 : TileChoice{TileKind::kE4M3, false, true};
    }
    default:
      return kNone;
  }
}

}  // namespace gannet
