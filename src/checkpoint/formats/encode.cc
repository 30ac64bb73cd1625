#include "checkpoint/formats/encode.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/dtype.h"
#include "checkpoint/formats/encode_integers.h"
#include "checkpoint/formats/small_floats.h"

namespace gannet {
namespace {

using Shape = std::vector<int64_t>;
using Matrix = std::span<const int64_t>;

// The nearest e2m1 code, without its sign; halfway the even one.
int NearestE2M1(float m) {
  return (m > 0.25f) + (m >= 0.75f) + (m > 1.25f) + (m >= 1.75f) + (m > 2.5f) + (m >= 3.5f) + (m > 5.0f);
}

// `count` values by `inverse` as e2m1, two in a byte.
void StoreE2M1(const float* w, int64_t count, float inverse, std::byte* out) {
  const auto code = [&](float value) {
    return static_cast<unsigned>(NearestE2M1(std::fabs(value) * inverse) | (std::signbit(value) ? 8 : 0));
  };
  for (int64_t i = 0; i < count; i += 2) out[i / 2] = static_cast<std::byte>(code(w[i]) | code(w[i + 1]) << 4);
}

void EncodeMxfp4(const MatrixRows& rows, std::byte* values, std::byte* const* others) {
  const float* w = rows.w;
  std::byte* scales = others[0] + rows.first * rows.k / 32;
  for (int64_t block = 0; block < rows.count * rows.k / 32; ++block, w += 32, values += 16) {
    const float largest = LargestOf(w, 32);
    const int exponent = largest > 0 ? std::clamp(std::ilogb(largest) - 2, -127, 127) : 0;
    scales[block] = static_cast<std::byte>(exponent + 127);
    StoreE2M1(w, 32, std::ldexp(1.0f, -exponent), values);
  }
}

void EncodeNvfp4Groups(const MatrixRows& rows, float global, std::byte* values, std::byte* scales) {
  const float* w = rows.w;
  scales += rows.first * rows.k / 16;
  for (int64_t group = 0; group < rows.count * rows.k / 16; ++group, w += 16, values += 8) {
    const uint8_t scale = FloatToE4M3(LargestOf(w, 16) / 6 / global);
    const float unit = E4M3ToFloat(scale) * global;
    scales[group] = static_cast<std::byte>(scale);
    StoreE2M1(w, 16, unit > 0 ? 1 / unit : 0.0f, values);
  }
}

float GlobalScaleOf(const MatrixRows& rows) { return std::max(rows.largest / (6 * 448), kSmallestScale); }

void EncodeNvfp4(const MatrixRows& rows, std::byte* values, std::byte* const* others) {
  const float global = GlobalScaleOf(rows);
  EncodeNvfp4Groups(rows, global, values, others[0]);
  if (rows.first == 0) std::memcpy(others[1], &global, sizeof(global));
}

void EncodeNvfp4Packed(const MatrixRows& rows, std::byte* values, std::byte* const* others) {
  const float divisor = 1 / GlobalScaleOf(rows);
  EncodeNvfp4Groups(rows, 1 / divisor, values, others[0]);
  if (rows.first == 0) std::memcpy(others[1], &divisor, sizeof(divisor));
}

void StoreE4M3(const float* w, int64_t count, float scale, std::byte* out) {
  for (int64_t i = 0; i < count; ++i) out[i] = static_cast<std::byte>(FloatToE4M3(w[i] / scale));
}

float Fp8ScaleOf(float largest) { return std::max(largest / 448, kSmallestScale); }

void EncodeFp8Block(const MatrixRows& rows, std::byte* values, std::byte* const* others) {
  const int64_t k = rows.k;
  std::byte* scales = others[0] + rows.first / 128 * ((k + 127) / 128) * 4;
  for (int64_t first = 0; first < k; first += 128, scales += 4) {
    const int64_t count = std::min<int64_t>(128, k - first);
    float largest = 0;
    for (int64_t r = 0; r < rows.count; ++r) largest = std::max(largest, LargestOf(rows.w + r * k + first, count));
    const float scale = Fp8ScaleOf(largest);
    std::memcpy(scales, &scale, 4);
    for (int64_t r = 0; r < rows.count; ++r) {
      StoreE4M3(rows.w + r * k + first, count, scale, values + r * k + first);
    }
  }
}

void EncodeFp8Channel(const MatrixRows& rows, std::byte* values, std::byte* const* others) {
  const float scale = Fp8ScaleOf(LargestOf(rows.w, rows.k));
  std::memcpy(others[0] + 4 * rows.first, &scale, 4);
  StoreE4M3(rows.w, rows.k, scale, values);
}

void EncodeFp8Tensor(const MatrixRows& rows, std::byte* values, std::byte* const* others) {
  const float scale = Fp8ScaleOf(rows.largest);
  if (rows.first == 0) std::memcpy(others[0], &scale, 4);
  StoreE4M3(rows.w, rows.k, scale, values);
}

void EncodeInt8(const MatrixRows& rows, std::byte* values, std::byte* const* others) {
  const float scale = std::max(LargestOf(rows.w, rows.k) / 127, kSmallestScale);
  std::memcpy(others[0] + 4 * rows.first, &scale, 4);
  for (int64_t c = 0; c < rows.k; ++c) {
    values[c] = static_cast<std::byte>(std::clamp(static_cast<int>(std::nearbyint(rows.w[c] / scale)), -127, 127));
  }
}

template <int64_t kN, int64_t kK>  // values along N and K that are one element of the tensor
Shape Divided(Matrix m) {
  return {(m[0] + kN - 1) / kN, (m[1] + kK - 1) / kK};
}
Shape OneForEachRow(Matrix m) { return {m[0], 1}; }
Shape Scalar(Matrix) { return {}; }
Shape One(Matrix) { return {1}; }
Shape Two(Matrix) { return {2}; }
template <int64_t kN, int64_t kK>
Shape Transposed(Matrix m) {
  return {m[1] / kK, m[0] / kN};
}

constexpr EncodedPart kMxfp4[] = {{".weight", "U8", Divided<1, 2>}, {".weight_scale", "U8", Divided<1, 32>}};
constexpr EncodedPart kNvfp4[] = {
    {".weight", "U8", Divided<1, 2>}, {".weight_scale", "F8_E4M3", Divided<1, 16>}, {".weight_scale_2", "F32", Scalar}};
constexpr EncodedPart kNvfp4Packed[] = {{".weight_packed", "U8", Divided<1, 2>},
                                        {".weight_scale", "F8_E4M3", Divided<1, 16>},
                                        {".weight_global_scale", "F32", One}};
constexpr EncodedPart kFp8Block[] = {{".weight", "F8_E4M3", Divided<1, 1>},
                                     {".weight_scale_inv", "F32", Divided<128, 128>}};
constexpr EncodedPart kFp8Channel[] = {{".weight", "F8_E4M3", Divided<1, 1>}, {".weight_scale", "F32", OneForEachRow}};
constexpr EncodedPart kFp8Tensor[] = {{".weight", "F8_E4M3", Divided<1, 1>}, {".weight_scale", "F32", Scalar}};
constexpr EncodedPart kInt8[] = {{".weight", "I8", Divided<1, 1>}, {".weight_scale", "F32", OneForEachRow}};
constexpr EncodedPart kInt4[] = {{".weight_packed", "I32", Divided<1, 8>},
                                 {".weight_scale", "BF16", Divided<1, kInt4Group>},
                                 {".weight_shape", "I64", Two}};
constexpr EncodedPart kAwq[] = {{".qweight", "I32", Transposed<8, 1>},
                                {".qzeros", "I32", Transposed<8, kColumnGroup>},
                                {".scales", "F16", Transposed<1, kColumnGroup>}};
constexpr EncodedPart kGptq[] = {{".qweight", "I32", Transposed<1, 8>},
                                 {".qzeros", "I32", Transposed<8, kColumnGroup>},
                                 {".scales", "F16", Transposed<1, kColumnGroup>},
                                 {".g_idx", "I32", [](Matrix m) { return Shape{m[1]}; }}};
constexpr EncodedPart kGptOss[] = {{"_blocks", "U8",
                                    [](Matrix m) {
                                      return Shape{m[0], m[1], m[2] / 32, 16};
                                    }},
                                   {"_scales", "U8", [](Matrix m) {
                                      return Shape{m[0], m[1], m[2] / 32};
                                    }}};

// group_rows, group_cols, along_n, wants_largest
constexpr Encoder kEncoders[] = {
    {"mxfp4", QuantDialect::kQuark, "MXFP4", kMxfp4, 1, 32, false, false, EncodeMxfp4},
    {"nvfp4", QuantDialect::kModelOpt, "NVFP4", kNvfp4, 1, 16, false, true, EncodeNvfp4},
    {"nvfp4-packed", QuantDialect::kCompressedTensors, "NVFP4", kNvfp4Packed, 1, 16, false, true, EncodeNvfp4Packed},
    {"fp8-block", QuantDialect::kDeepSeek, "FP8", kFp8Block, 128, 1, false, false, EncodeFp8Block},
    {"fp8-channel", QuantDialect::kCompressedTensors, "FP8", kFp8Channel, 1, 1, false, false, EncodeFp8Channel},
    {"fp8-tensor", QuantDialect::kCompressedTensors, "FP8", kFp8Tensor, 1, 1, false, true, EncodeFp8Tensor},
    {"int8", QuantDialect::kQuark, "INT8", kInt8, 1, 1, false, false, EncodeInt8},
    {"int4", QuantDialect::kCompressedTensors, "INT4", kInt4, 1, kInt4Group, false, false, EncodeInt4},
    {"awq", QuantDialect::kAwq, "AWQ", kAwq, 8, kColumnGroup, true, false, EncodeAwq},
    {"gptq", QuantDialect::kGptq, "GPTQ", kGptq, 8, kColumnGroup, true, false, EncodeGptq},
};
constexpr Encoder kGptOssEncoder{"mxfp4", QuantDialect::kGptOss, "MXFP4", kGptOss, 1, 32, false, false, EncodeMxfp4};

}  // namespace

const Encoder* FindEncoder(std::string_view flag) {
  for (const Encoder& encoder : kEncoders) {
    if (encoder.flag == flag) return &encoder;
  }
  return nullptr;
}

const Encoder& GptOssEncoder() { return kGptOssEncoder; }

std::string EncoderNames() {
  std::string names;
  for (const Encoder& encoder : kEncoders) {
    if (!names.empty()) names += ", ";
    names += encoder.flag;
  }
  return names;
}

}  // namespace gannet
