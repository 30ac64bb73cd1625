// Random matrices in the file formats, for the tests and the benchmark of this room. Formats as in ggml-common.h.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "base/dtype.h"
#include "base/weight.h"
#include "kernels/kernels.h"

namespace gannet::testing_support {

inline std::vector<float> RandomFloats(int64_t count, uint32_t seed, float scale = 1.0f) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal(0.0f, scale);
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = normal(generator);
  return values;
}

inline float HalfAt(const std::byte* at) {
  uint16_t bits;
  std::memcpy(&bits, at, 2);
  return F16ToFloat(bits);
}

inline void DequantizeRow(const Weight& weight, int64_t row, float* out) {
  const std::byte* from = weight.row(row);
  for (int64_t k = 0; k < weight.cols; ++k) {
    uint16_t bits;
    switch (weight.storage) {
      case Storage::kF16:
      case Storage::kBF16:
        std::memcpy(&bits, from + 2 * k, 2);
        out[k] = weight.storage == Storage::kF16 ? F16ToFloat(bits) : BF16ToFloat(bits);
        break;
      case Storage::kQ8_0: {
        const std::byte* block = from + k / 32 * 34;
        out[k] = HalfAt(block) * static_cast<int8_t>(block[2 + k % 32]);
        break;
      }
      case Storage::kQ4_0:
      case Storage::kQ4_1: {
        const bool has_min = weight.storage == Storage::kQ4_1;
        const std::byte* block = from + k / 32 * (has_min ? 20 : 18);
        const int byte = std::to_integer<int>(block[(has_min ? 4 : 2) + k % 16]);
        const int nibble = k % 32 < 16 ? byte & 15 : byte >> 4;
        out[k] = has_min ? HalfAt(block) * static_cast<float>(nibble) + HalfAt(block + 2)
                         : HalfAt(block) * static_cast<float>(nibble - 8);
        break;
      }
      case Storage::kMxfp4:
      case Storage::kE2M1: {
        constexpr float kValues[8] = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6};
        const bool ggml = weight.storage == Storage::kMxfp4;
        const int64_t block = k / 32;
        const int scale =
            std::to_integer<int>(ggml ? from[17 * block] : weight.scales->data[row * weight.scales->row_step + block]);
        const int byte = std::to_integer<int>(ggml ? from[17 * block + 1 + k % 16] : from[k / 2]);
        const int code = (ggml ? k % 32 < 16 : k % 2 == 0) ? byte & 15 : byte >> 4;
        out[k] = std::ldexp(code < 8 ? kValues[code] : -kValues[code - 8], scale - 127);
        break;
      }
      case Storage::kU4: {
        const int byte = std::to_integer<int>(from[k / 2]);
        const int64_t block = row * weight.cols / 32 + k / 32;
        const int zero = std::to_integer<int>(weight.scales->zeros[block]);
        out[k] =
            static_cast<float>((k % 2 == 0 ? byte & 15 : byte >> 4) - zero) * HalfAt(weight.scales->data + 2 * block);
        break;
      }
      case Storage::kI8: {
        float scale;
        std::memcpy(&scale, weight.scales->data + 4 * row, 4);
        out[k] = static_cast<float>(static_cast<int8_t>(from[k])) * scale;
        break;
      }
      default:  // fp32; and storages without a fast kernel, whose bytes only their own dequantizer knows
        std::memcpy(out + k, from + 4 * k, 4);
    }
  }
}

// Owns what a Weight looks at.
struct TestWeight {
  std::vector<std::byte> data;
  Weight weight;
  std::shared_ptr<Scales> scales = {};
};

// Random bytes with sane scales: every quantized value, -128 included, is as likely as any.
inline TestWeight RandomWeight(Storage storage, int64_t rows, int64_t cols, uint32_t seed) {
  TestWeight out;
  out.weight.storage = storage;
  out.weight.rows = rows;
  out.weight.cols = cols;
  out.weight.dequantize_row = DequantizeRow;
  std::mt19937 generator(seed);
  if (storage == Storage::kMxfp4 || storage == Storage::kE2M1) {
    const bool ggml = storage == Storage::kMxfp4;
    out.weight.row_bytes = ggml ? cols / 32 * 17 : cols / 2;
    const size_t values = static_cast<size_t>(rows * out.weight.row_bytes);
    out.data.resize(values + (ggml ? 0 : static_cast<size_t>(rows * cols / 32)));
    for (std::byte& byte : out.data) byte = static_cast<std::byte>(generator());
    for (size_t at = ggml ? 0 : values; at < out.data.size(); at += ggml ? 17 : 1) {
      out.data[at] = static_cast<std::byte>(118 + generator() % 8);
    }
    out.weight.data = out.data.data();
    if (!ggml) {
      out.scales = std::make_shared<Scales>(Scales{.type = ScaleType::kE8M0, .data = out.data.data() + values});
      out.scales->group_cols = 32;
      out.scales->row_step = cols / 32;
      out.scales->whole_rows = rows;
      out.weight.scales = out.scales.get();
    }
    return out;
  }
  if (storage == Storage::kU4) {  // a zero point for each block, as bytes
    const std::vector<float> scales = RandomFloats(rows * cols / 32, seed, 0.01f);
    out.weight.row_bytes = cols / 2;
    out.data.resize(static_cast<size_t>(rows * cols / 2) + scales.size() * 3);
    for (std::byte& byte : out.data) byte = static_cast<std::byte>(generator());
    out.weight.data = out.data.data();
    std::byte* const at = out.data.data() + rows * cols / 2;
    for (size_t i = 0; i < scales.size(); ++i) {
      const uint16_t half = FloatToF16(scales[i]);
      std::memcpy(at + 2 * i, &half, 2);
      at[2 * scales.size() + i] &= std::byte{15};
    }
    out.scales = std::make_shared<Scales>(Scales{.type = ScaleType::kF16, .data = at});
    out.scales->group_cols = 32;
    out.scales->row_step = cols / 32;
    out.scales->whole_rows = rows;
    out.scales->zeros = at + 2 * scales.size();
    out.weight.scales = out.scales.get();
    return out;
  }
  if (storage == Storage::kI8) {
    const std::vector<float> scales = RandomFloats(rows, seed, 0.01f);
    out.weight.row_bytes = cols;
    out.data.resize(static_cast<size_t>(rows * cols) + scales.size() * 4);
    for (std::byte& byte : out.data) byte = static_cast<std::byte>(generator());
    out.weight.data = out.data.data();
    std::byte* const at = out.data.data() + rows * cols;
    std::memcpy(at, scales.data(), scales.size() * 4);
    out.scales = std::make_shared<Scales>(Scales{.type = ScaleType::kF32, .data = at});
    out.scales->group_cols = cols;
    out.scales->row_step = 1;
    out.scales->whole_rows = rows;
    out.weight.scales = out.scales.get();
    return out;
  }
  const bool quantized = storage == Storage::kQ8_0 || storage == Storage::kQ4_0 || storage == Storage::kQ4_1;
  if (!quantized) {
    const bool half = storage == Storage::kF16 || storage == Storage::kBF16;
    out.weight.row_bytes = cols * (half ? 2 : 4);
    const std::vector<float> values = RandomFloats(rows * cols, seed, 0.1f);
    out.data.resize(static_cast<size_t>(rows * out.weight.row_bytes));
    for (size_t i = 0; i < values.size(); ++i) {
      if (half) {
        const uint16_t bits = storage == Storage::kF16 ? FloatToF16(values[i]) : FloatToBF16(values[i]);
        std::memcpy(out.data.data() + 2 * i, &bits, 2);
      } else {
        std::memcpy(out.data.data() + 4 * i, &values[i], 4);
      }
    }
  } else {
    const int64_t block = storage == Storage::kQ8_0 ? 34 : storage == Storage::kQ4_1 ? 20 : 18;
    out.weight.row_bytes = cols / 32 * block;
    out.data.resize(static_cast<size_t>(rows * out.weight.row_bytes));
    for (std::byte& byte : out.data) byte = static_cast<std::byte>(generator());
    std::uniform_real_distribution<float> scales(-0.02f, 0.02f);
    for (size_t at = 0; at < out.data.size(); at += static_cast<size_t>(block)) {
      const uint16_t scale = FloatToF16(scales(generator));
      const uint16_t min = FloatToF16(scales(generator) * 8);
      std::memcpy(out.data.data() + at, &scale, 2);
      if (storage == Storage::kQ4_1) std::memcpy(out.data.data() + at + 2, &min, 2);
    }
  }
  out.weight.data = out.data.data();
  return out;
}

// Those that RandomWeight makes.
inline constexpr Storage kStorages[] = {Storage::kF32,  Storage::kF16,  Storage::kBF16,  Storage::kQ8_0,
                                        Storage::kQ4_0, Storage::kQ4_1, Storage::kMxfp4, Storage::kE2M1,
                                        Storage::kI8,   Storage::kU4,   Storage::kU8};
inline std::string NameOf(Storage storage) { return std::string(InfoOf(storage).name); }

// out [m, rows]
inline std::vector<float> Product(const Kernels& kernels, const PackedMatrix& weight, const float* x, int64_t m,
                                  ThreadPool& pool) {
  std::vector<float> out(static_cast<size_t>(m * weight.rows()), 1234.5f);
  const MatmulTarget target{&weight, out.data(), weight.rows(), nullptr, false};
  const MatmulArgs job{x, weight.cols(), m, weight.cols(), {&target, 1}, {}};
  kernels.matmul({&job, 1}, pool);
  return out;
}

// The same of weights as they come.
inline std::vector<float> Multiply(const Kernels& kernels, const Weight& weight, const std::vector<float>& x, int64_t m,
                                   ThreadPool& pool) {
  return Product(kernels, *kernels.pack(weight), x.data(), m, pool);
}

inline std::vector<const Kernels*> FastTables() {
  std::vector<const Kernels*> tables = AvailableKernels();
  tables.pop_back();  // reference
  return tables;
}

inline bool SameBits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);
}

}  // namespace gannet::testing_support
