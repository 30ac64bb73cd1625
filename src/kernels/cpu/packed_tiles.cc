#include "kernels/cpu/packed_tiles.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstring>
#include <limits>
#include <thread>

#include "base/dtype.h"
#include "base/mapped_file.h"
#include "base/result.h"
#include "kernels/cpu/arena.h"
#include "kernels/cpu/pack_blocks-inl.h"

namespace gannet {
namespace {

std::string Lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), [](unsigned char c) { return std::tolower(c); });
  return out;
}

// The four bytes of a word, each with a zero above it.
inline uint64_t Spread(uint64_t word) {
  word = (word | word << 16) & 0x0000ffff0000ffff;
  return (word | word << 8) & 0x00ff00ff00ff00ff;
}

// Codes of a block of 32, two neighbours in a byte, as codes i and i + 16 in byte i.
inline void PairHalves(const std::byte* from, std::byte* to) {
  constexpr uint64_t kLow = 0x0f0f0f0f0f0f0f0f;
  uint64_t half[2];
  std::memcpy(half, from, 16);
  const uint64_t even = (half[0] & kLow) | (half[1] & kLow) << 4;
  const uint64_t odd = (half[0] >> 4 & kLow) | (half[1] & ~kLow);
  const uint64_t codes[2] = {Spread(even & 0xffffffff) | Spread(odd & 0xffffffff) << 8,
                             Spread(even >> 32) | Spread(odd >> 32) << 8};
  std::memcpy(to, codes, 16);
}

Operands OperandsOf(TileKind kind, bool bf16) {
  if (bf16 && kind == TileKind::kBF16) return Operands::kBf16;
  return IsInteger(kind) ? Operands::kInt8 : Operands::kFp32;
}

}  // namespace

PackedTiles::PackedTiles(const Weight& weight, const TileChoice& choice, const char* table, bool bf16)
    : PackedMatrix(choice.turned ? weight.cols : weight.rows, choice.turned ? weight.rows : weight.cols),
      weight_(weight),
      kind_(choice.kind),
      plain_(choice.plain),
      operands_(plain_ ? Operands::kFp32 : OperandsOf(kind_, bf16)),
      turned_(choice.turned) {
  const std::string storage = Lower(InfoOf(weight.storage).name);
  if (plain_) {
    GANNET_ASSERT(weight.dequantize_row != nullptr, "a weight has a row dequantizer");
    kernel_ = fmt::format("{} dequantized x fp32 {} (plain)", storage, table);
    return;
  }
  kernel_ = fmt::format("{}{} x {} {}", storage, turned_ ? " transposed" : "", NameOf(operands_), table);
  if (IsInteger(kind_)) {
    GANNET_ASSERT(cols() % kQuantBlock == 0, "a quantized row holds whole blocks");
    const int64_t blocks = cols() / kQuantBlock;
    tile_bytes_ = kind_ == TileKind::kFp4 ? (blocks + 1) / 2 * kFp4PairBytes : BlockOffset(kind_, blocks);
  } else if (HasScaleOfEachK(kind_)) {
    tile_bytes_ = cols() * (4 + kTileRows);
  } else {
    tile_bytes_ = cols() * kTileRows * (kind_ == TileKind::kF32 ? 4 : 2);
  }
  data_ = AllocatePacked(tiles() * tile_bytes_);
  states_ = std::make_unique<std::atomic<State>[]>(static_cast<size_t>(tiles()));
  unpacked_ = tiles();
  if (kind_ == TileKind::kFp4) scale_ranges_.resize(static_cast<size_t>(tiles()));
  if (choice.row_scales) row_scales_.resize(static_cast<size_t>(tiles() * kTileRows));
}

PackedTiles::Place PackedTiles::PlaceOf(int64_t index) const {
  return {data_.get() + index * tile_bytes_, row_scales_.empty() ? nullptr : row_scales_.data() + index * kTileRows,
          kind_ == TileKind::kFp4 ? &scale_ranges_[static_cast<size_t>(index)] : nullptr};
}

TileView PackedTiles::tile(int64_t index, Scratch& memory) const {
  if (plain_) {
    float* const floats = memory.Floats(cols() * (kTileRows + 1));
    DequantizeTile(index, floats + cols() * kTileRows, floats);
    return {.data = reinterpret_cast<const std::byte*>(floats), .row_scales = nullptr, .scale_range = {}};
  }
  if (keeps_ && !packed(index)) PackOnce(index);
  if (packed(index)) {
    const Place at = PlaceOf(index);
    return {at.data, at.row_scales, at.scale_range ? *at.scale_range : ScaleRange()};
  }
  constexpr int64_t kRowScaleBytes = kTileRows * sizeof(float);
  std::byte* const begin = memory.Get(kRowScaleBytes + tile_bytes_);
  std::memset(begin, 0, static_cast<size_t>(kRowScaleBytes + tile_bytes_));
  float* const row_scales = row_scales_.empty() ? nullptr : reinterpret_cast<float*>(begin);
  TileView view{begin + kRowScaleBytes, row_scales, {}};
  PackTile(index, {begin + kRowScaleBytes, row_scales, &view.scale_range});
  return view;
}

void PackedTiles::PackOnce(int64_t index) const {
  std::atomic<State>& state = states_[static_cast<size_t>(index)];
  State expected = State::kUntouched;
  if (!state.compare_exchange_strong(expected, State::kBeingPacked)) {
    while (state.load(std::memory_order_acquire) != State::kPacked) std::this_thread::yield();
    return;
  }
  PackTile(index, PlaceOf(index));
  state.store(State::kPacked, std::memory_order_release);
  if (unpacked_.fetch_sub(1) == 1 && weight_.mapped && weight_.dense()) {
    MappedFile::Release({weight_.data, static_cast<size_t>(weight_.bytes())});
  }
}

std::span<const std::byte> PackedTiles::streamed() const {
  if (plain_) return weight_.in_one_piece();
  if (!owns_memory()) return {};
  return {data_.get(), static_cast<size_t>(bytes())};
}

void PackedTiles::Settle(ThreadPool& pool) {
  if (plain_) return;
  pool.ParallelFor(tiles(), [&](int64_t index, int) {
    if (!packed(index)) PackOnce(index);
  });
}

void PackedTiles::PackTile(int64_t index, const Place& to) const {
  if (turned_) return PackTurnedTile(index, to);
  if (kind_ == TileKind::kE4M3) return PackE4M3Tile(index, to);
  if (kind_ == TileKind::kFp4) return PackFp4Tile(index, to);
  if (kind_ == TileKind::kNvFp4) return PackNvFp4Tile(index, to);
  if (kind_ == TileKind::kQ4Zero) return PackGroupsOfInt4(index, to);
  if (IsK(kind_)) return PackKTile(index, to);
  if (weight_.storage == Storage::kI8) return PackRowsOfInt8(index, to);
  if (weight_.storage == Storage::kQ5_0 || weight_.storage == Storage::kQ5_1) return PackFiveBitTile(index, to);
  IsInteger(kind_) ? PackInt8Tile(index, to) : PackFloatTile(index, to);
}

void PackedTiles::PackFp4Tile(int64_t index, const Place& to) const {
  const bool ggml = weight_.storage == Storage::kMxfp4;  // scale and quants together; value j + 16 above value j
  ScaleRange range;
  ForEachBlock(index, [&](int64_t r, int64_t b) {
    const std::byte* from = weight_.row(index * kTileRows + r);
    std::byte* pair = to.data + b / 2 * kFp4PairBytes;
    std::byte* quants = pair + 64 + 512 * (b % 2) + r / 16 * 256 + 4 * (r % 16);
    if (ggml) {
      pair[32 * (b % 2) + r] = from[17 * b];
      StoreWords(from + 17 * b + 1, 4, quants);
    } else {
      const int64_t row = weight_.whole_row(index * kTileRows + r);
      pair[32 * (b % 2) + r] =
          weight_.scales->data[row * weight_.scales->row_step + weight_.first_col / kQuantBlock + b];
      std::byte codes[kQuantBlock / 2];
      PairHalves(from + 16 * b, codes);
      StoreWords(codes, 4, quants);
    }
    range.Add(std::to_integer<uint8_t>(pair[32 * (b % 2) + r]));
  });
  *to.scale_range = range;
}

void PackedTiles::PackNvFp4Tile(int64_t index, const Place& to) const {
  const Scales& scales = *weight_.scales;
  for (int64_t r = 0; r < RowsIn(index); ++r) {
    to.row_scales[r] = kE4M3Unit * scales.factor;
  }
  ForEachBlock(index, [&](int64_t r, int64_t b) {
    const int64_t row = weight_.whole_row(index * kTileRows + r);
    const std::byte* two = scales.data + row * scales.row_step + weight_.first_col / 16 + 2 * b;
    std::byte* block = to.data + BlockOffset(kind_, b);
    block[r] = two[0];
    block[32 + r] = two[1];
    if (IsNanE4M3(two[0]) || IsNanE4M3(two[1])) {
      to.row_scales[r] = std::numeric_limits<float>::quiet_NaN();
    }
    std::byte codes[kQuantBlock / 2];
    PairHalves(weight_.row(index * kTileRows + r) + 16 * b, codes);
    StoreWords(codes, 4, QuantsOf(block, r));
  });
}

void PackedTiles::PackInt8Tile(int64_t index, const Place& to) const {
  const int64_t block_bytes = InfoOf(weight_.storage).block_bytes;
  const bool has_min = kind_ == TileKind::kQ4Min;
  const int64_t header = has_min ? 4 : 2;  // bytes of scale (and minimum) in the file
  ForEachBlock(index, [&](int64_t r, int64_t b) {
    const std::byte* from = weight_.row(index * kTileRows + r) + b * block_bytes;
    std::byte* block = to.data + b * BlockBytes(kind_);
    std::memcpy(block + 2 * r, from, 2);
    if (has_min) std::memcpy(block + 64 + 2 * r, from + 2, 2);
    std::byte* quants = QuantsOf(block, r);
    if (kind_ == TileKind::kQ8) {
      StoreWords(from + header, 8, quants, kSignBits);
    } else {
      StoreWords(from + header, 4, quants);
    }
  });
}

// Blocks whose scale is 1; a row's own waits for the end of its sum.
void PackedTiles::PackRowsOfInt8(int64_t index, const Place& to) const {
  constexpr uint16_t kOne = 0x3c00;
  for (int64_t r = 0; r < RowsIn(index); ++r) {
    const int64_t row = weight_.whole_row(index * kTileRows + r);
    to.row_scales[r] = weight_.scales->at(row, weight_.first_col);
  }
  ForEachBlock(index, [&](int64_t r, int64_t b) {
    std::byte* block = to.data + b * BlockBytes(kind_);
    std::memcpy(block + 2 * r, &kOne, 2);
    std::byte* quants = QuantsOf(block, r);
    StoreWords(weight_.row(index * kTileRows + r) + b * kQuantBlock, 8, quants, kSignBits);
  });
}

// Every way of packing 4-bit integers alike, from what the row means: value / scale is a whole number again, and a
// block's smallest one, at least -15 and at most 15 below its largest, becomes its zero point.
void PackedTiles::PackGroupsOfInt4(int64_t index, const Place& to) const {
  std::vector<float> values(static_cast<size_t>(cols()));
  for (int64_t r = 0; r < RowsIn(index); ++r) {
    const int64_t at = index * kTileRows + r;
    weight_.dequantize_row(weight_, at, values.data());
    for (int64_t b = 0; b < cols() / kQuantBlock; ++b) {
      const float scale = weight_.scales->at(weight_.whole_row(at), weight_.first_col + b * kQuantBlock);
      int codes[kQuantBlock];
      int lowest = 0;
      for (int i = 0; i < kQuantBlock; ++i) {
        const float code = scale != 0 ? std::nearbyint(values[static_cast<size_t>(b * kQuantBlock + i)] / scale) : 0.0f;
        codes[i] = static_cast<int>(std::clamp(code, -15.0f, 15.0f));
        lowest = std::min(lowest, codes[i]);
      }
      std::byte* block = to.data + b * BlockBytes(kind_);
      const uint16_t half = FloatToF16(scale);
      std::memcpy(block + 2 * r, &half, 2);
      block[64 + r] = static_cast<std::byte>(-lowest);
      std::byte* quants = QuantsOf(block, r);
      for (int i = 0; i < kQuantBlock / 2; ++i) {
        quants[i / 4 * 64 + i % 4] = static_cast<std::byte>((codes[i] - lowest) | (codes[i + 16] - lowest) << 4);
      }
    }
  }
}

void PackedTiles::PackFloatTile(int64_t index, const Place& to) const {
  const int64_t size = kind_ == TileKind::kF32 ? 4 : 2;
  for (int64_t r = 0; r < RowsIn(index); ++r) {
    const std::byte* from = weight_.row(index * kTileRows + r);
    std::byte* column = to.data + r * size;
    const int64_t step = weight_.dense() ? size : weight_.col_bytes;
    for (int64_t k = 0; k < cols(); ++k) std::memcpy(column + k * kTileRows * size, from + k * step, size);
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

std::unique_ptr<PackedMatrix> PackTiles(const Weight& weight, const char* table, bool bf16) {
  return std::make_unique<PackedTiles>(weight, ChooseTile(weight), table, bf16);
}

std::unique_ptr<PackedMatrix> PackTransposedTiles(const Weight& weight, const char* table, bool bf16) {
  const TileChoice choice = ChooseTransposed(weight);
  return choice.plain ? nullptr : std::make_unique<PackedTiles>(weight, choice, table, bf16);
}

}  // namespace gannet
