// Formats whose scales lie in tensors of their own: FP8, INT8, MXFP4, NVFP4 and the packed 4-bit and 8-bit integers.
#include <algorithm>
#include <cstring>

#include "base/dtype.h"
#include "checkpoint/formats/dequantize.h"
#include "checkpoint/formats/small_floats.h"

namespace gannet {
namespace {

// Where AWQ keeps value j of the eight in a word.
constexpr int kAwqNibble[8] = {0, 4, 1, 5, 2, 6, 3, 7};

template <typename T>
T Read(const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof(T));
  return value;
}

uint32_t BitsOfWord(const std::byte* words, int64_t index, int shift, int bits) {
  return Read<uint32_t>(words + 4 * index) >> shift & ((1u << bits) - 1);
}

int ZeroAt(const Scales& scales, int64_t row, int64_t group) {
  const int per_word = 32 / scales.zero_bits;
  const auto word = [&](int64_t index, int slot) {
    return static_cast<int>(BitsOfWord(scales.zeros, index, slot * scales.zero_bits, scales.zero_bits));
  };
  const int slot = static_cast<int>(row % per_word);
  switch (scales.zero_layout) {
    case ZeroLayout::kConstant:
      break;
    case ZeroLayout::kGroupsByRows:
      return word(group * scales.zero_step + row / per_word, slot) + scales.zero;
    case ZeroLayout::kGroupsByRowsAwq:
      return word(group * scales.zero_step + row / per_word, kAwqNibble[slot]) + scales.zero;
    case ZeroLayout::kRowsByGroups:
      return word(row / per_word * scales.zero_step + group, slot) + scales.zero;
  }
  return scales.zero;
}

// code(c, row, zero): the value at column c of the view before it is scaled; `row` counts in the whole matrix.
template <typename Code>
void ForEachGroup(const Weight& weight, int64_t row, float* out, Code code) {
  const Scales& scales = *weight.scales;
  const int64_t whole_row = weight.whole_row(row);
  const int64_t first_scale = whole_row / scales.group_rows * scales.row_step;
  for (int64_t c = 0; c < weight.cols;) {
    const int64_t column = weight.first_col + c;
    int64_t group = column / scales.group_cols;
    int64_t end = std::min(weight.cols, (group + 1) * scales.group_cols - weight.first_col);
    if (scales.group_of) {
      group = Read<int32_t>(scales.group_of + 4 * column);
      end = c + 1;
    }
    const float scale = scales.at(first_scale + group * scales.col_step) * scales.factor;
    const int zero = ZeroAt(scales, whole_row, group);
    for (; c < end; ++c) out[c] = code(c, whole_row, zero) * scale;
  }
}

}  // namespace

void DequantizeRowE2M1(const Weight& weight, int64_t row, float* out) {
  const std::byte* in = weight.row(row);
  ForEachGroup(weight, row, out, [&](int64_t c, int64_t, int) {
    return kE2M1[std::to_integer<unsigned>(in[c / 2]) >> (c % 2 * 4) & 15u];
  });
}

void DequantizeRowE4M3(const Weight& weight, int64_t row, float* out) {
  const std::byte* in = weight.row(row);
  ForEachGroup(weight, row, out, [&](int64_t c, int64_t, int) { return kE4M3.values[std::to_integer<size_t>(in[c])]; });
}

void DequantizeRowI8(const Weight& weight, int64_t row, float* out) {
  const std::byte* in = weight.row(row);
  ForEachGroup(weight, row, out,
               [&](int64_t c, int64_t, int) { return static_cast<float>(std::to_integer<int8_t>(in[c])); });
}

void DequantizeRowU8(const Weight& weight, int64_t row, float* out) {
  const std::byte* in = weight.row(row);
  ForEachGroup(weight, row, out,
               [&](int64_t c, int64_t, int zero) { return static_cast<float>(std::to_integer<int>(in[c]) - zero); });
}

void DequantizeRowU4(const Weight& weight, int64_t row, float* out) {
  const std::byte* in = weight.row(row);
  ForEachGroup(weight, row, out, [&](int64_t c, int64_t, int zero) {
    return static_cast<float>((std::to_integer<int>(in[c / 2]) >> (c % 2 * 4) & 15) - zero);
  });
}

void DequantizeRowAwq(const Weight& weight, int64_t row, float* out) {
  ForEachGroup(weight, row, out, [&](int64_t c, int64_t whole_row, int zero) {
    const int64_t words = weight.scales->whole_rows / 8;  // of a column
    const uint32_t q =
        BitsOfWord(weight.data, (weight.first_col + c) * words + whole_row / 8, 4 * kAwqNibble[whole_row % 8], 4);
    return static_cast<float>(static_cast<int>(q) - zero);
  });
}

namespace {

template <int kBits>
void DequantizeRowGptq(const Weight& weight, int64_t row, float* out) {
  constexpr int kPerWord = 32 / kBits;
  ForEachGroup(weight, row, out, [&](int64_t c, int64_t whole_row, int zero) {
    const int64_t column = weight.first_col + c;
    const uint32_t q = BitsOfWord(weight.data, column / kPerWord * weight.scales->whole_rows + whole_row,
                                  static_cast<int>(column % kPerWord) * kBits, kBits);
    return static_cast<float>(static_cast<int>(q) - zero);
  });
}

}  // namespace

void DequantizeRowGptq4(const Weight& weight, int64_t row, float* out) { DequantizeRowGptq<4>(weight, row, out); }
void DequantizeRowGptq8(const Weight& weight, int64_t row, float* out) { DequantizeRowGptq<8>(weight, row, out); }

}  // namespace gannet
