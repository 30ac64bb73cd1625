#include "checkpoint/formats/encode_integers.h"

#include <cstring>
#include <utility>

#include "base/dtype.h"

namespace gannet {
namespace {

constexpr int64_t kRows = 8;                            // values of 4 bits in a word
constexpr int kAwqNibble[] = {0, 4, 1, 5, 2, 6, 3, 7};  // of column j of a word

// 0 to 15.
unsigned CodeOf(float value, float scale, int zero) {
  return static_cast<unsigned>(std::clamp(static_cast<int>(std::nearbyint(value / scale)) + zero, 0, 15));
}

// A scale that fp16 holds as a normal number.
uint16_t HalfScale(float scale) { return FloatToF16(std::clamp(scale, 0x1p-14f, 65504.0f)); }

template <typename Word>
void Store(Word word, std::byte* out, int64_t index) {
  std::memcpy(out + index * static_cast<int64_t>(sizeof(word)), &word, sizeof(word));
}

// Eight rows of words that lie along N. scale_of(group's values) -> {scale, zero point}.
template <typename ScaleOf, typename StoreCodes>
void EncodeColumns(const MatrixRows& rows, int stored_zero, const int* nibble, std::byte* zeros, std::byte* scales,
                   ScaleOf scale_of, StoreCodes store_codes) {
  for (int64_t first = 0; first < rows.k; first += kColumnGroup) {
    const int64_t group = first / kColumnGroup;
    uint32_t zero_word = 0;
    for (int64_t r = 0; r < kRows; ++r) {
      const float* const w = rows.w + r * rows.k + first;
      const auto [wanted, zero] = scale_of(w);
      const uint16_t half = HalfScale(wanted);
      Store(half, scales, group * rows.n + rows.first + r);
      zero_word |= static_cast<uint32_t>(zero + stored_zero) << (4 * nibble[r]);
      store_codes(first, r, w, F16ToFloat(half), zero);
    }
    Store(zero_word, zeros, (group * rows.n + rows.first) / kRows);
  }
}

}  // namespace

void EncodeInt4(const MatrixRows& rows, std::byte* values, std::byte* const* others) {
  const float* w = rows.w;
  const int64_t first_group = rows.first * rows.k / kInt4Group;
  for (int64_t group = 0; group < rows.k / kInt4Group; ++group, w += kInt4Group) {
    const uint16_t bits = FloatToBF16(std::max(LargestOf(w, kInt4Group) / 7, kSmallestScale));
    Store(bits, others[0], first_group + group);
    const float scale = BF16ToFloat(bits);
    for (int64_t i = 0; i < kInt4Group; i += 2) {
      *values++ = static_cast<std::byte>(CodeOf(w[i], scale, 8) | CodeOf(w[i + 1], scale, 8) << 4);
    }
  }
  if (rows.first == 0) {
    Store(rows.n, others[1], 0);
    Store(rows.k, others[1], 1);
  }
}

void EncodeAwq(const MatrixRows& rows, std::byte* values, std::byte* const* others) {
  const auto scale_of = [](const float* w) {
    const auto [low, high] = std::minmax_element(w, w + kColumnGroup);
    const float least = std::min(*low, 0.0f);
    const float scale = F16ToFloat(HalfScale((std::max(*high, 0.0f) - least) / 15));
    return std::pair(scale, std::clamp(static_cast<int>(std::nearbyint(-least / scale)), 0, 15));
  };
  uint32_t words[kColumnGroup];
  EncodeColumns(rows, 0, kAwqNibble, others[0], others[1], scale_of,
                [&](int64_t first, int64_t r, const float* w, float scale, int zero) {
                  for (int64_t c = 0; c < kColumnGroup; ++c) {
                    words[c] = (r == 0 ? 0 : words[c]) | CodeOf(w[c], scale, zero) << (4 * kAwqNibble[r]);
                    if (r == kRows - 1) Store(words[c], values, ((first + c) * rows.n + rows.first) / kRows);
                  }
                });
}

void EncodeGptq(const MatrixRows& rows, std::byte* values, std::byte* const* others) {
  constexpr int kInOrder[] = {0, 1, 2, 3, 4, 5, 6, 7};
  const auto scale_of = [](const float* w) { return std::pair(LargestOf(w, kColumnGroup) / 7, 8); };
  // Version 1 of the format stores zero points less one.
  EncodeColumns(rows, -1, kInOrder, others[0], others[1], scale_of,
                [&](int64_t first, int64_t r, const float* w, float scale, int zero) {
                  for (int64_t c = 0; c < kColumnGroup; c += kRows) {
                    uint32_t word = 0;
                    for (int64_t j = 0; j < kRows; ++j) word |= CodeOf(w[c + j], scale, zero) << (4 * j);
                    Store(word, values, (first + c) / kRows * rows.n + rows.first + r);
                  }
                });
  if (rows.first == 0) {
    for (int64_t c = 0; c < rows.k; ++c) Store(static_cast<int32_t>(c / kColumnGroup), others[2], c);
  }
}

}  // namespace gannet
