#include "checkpoint/formats/format.h"

#include <fmt/format.h>

#include "checkpoint/file_checks.h"
#include "checkpoint/formats/dequantize.h"

namespace gannet {
namespace {

constexpr Format kFormats[] = {
    {"F32", false, Storage::kF32, DequantizeRowF32},      {"F16", false, Storage::kF16, DequantizeRowF16},
    {"BF16", false, Storage::kBF16, DequantizeRowBF16},   {"Q8_0", false, Storage::kQ8_0, DequantizeRowQ8_0},
    {"Q4_0", false, Storage::kQ4_0, DequantizeRowQ4_0},   {"Q4_1", false, Storage::kQ4_1, DequantizeRowQ4_1},
    {"Q5_0", false, Storage::kQ5_0, DequantizeRowQ5_0},   {"Q5_1", false, Storage::kQ5_1, DequantizeRowQ5_1},
    {"Q4_K", false, Storage::kQ4_K, DequantizeRowQ4_K},   {"Q5_K", false, Storage::kQ5_K, DequantizeRowQ5_K},
    {"Q6_K", false, Storage::kQ6_K, DequantizeRowQ6_K},   {"MXFP4", false, Storage::kMxfp4, DequantizeRowMxfp4},
    {"MXFP4", true, Storage::kE2M1, DequantizeRowE2M1},   {"NVFP4", true, Storage::kE2M1, DequantizeRowE2M1},
    {"FP8", true, Storage::kE4M3, DequantizeRowE4M3},     {"INT8", true, Storage::kI8, DequantizeRowI8},
    {"UINT8", true, Storage::kU8, DequantizeRowU8},       {"INT4", true, Storage::kU4, DequantizeRowU4},
    {"AWQ", true, Storage::kAwq4, DequantizeRowAwq},      {"GPTQ", true, Storage::kGptq4, DequantizeRowGptq4},
    {"GPTQ8", true, Storage::kGptq8, DequantizeRowGptq8},
};

[[noreturn]] void RefuseTensor(const StoredTensor& tensor, std::string_view what) {
  RefuseFile(tensor.file ? tensor.file->path().string() : "a file",
             fmt::format("tensor {} {}", Quoted(tensor.name), what));
}

}  // namespace

std::span<const Format> Formats() { return kFormats; }

const Format* FindFormat(std::string_view dtype, bool scaled) {
  for (const Format& format : kFormats) {
    if (format.dtype == dtype && format.scaled == scaled) return &format;
  }
  return nullptr;
}

Weight MakeWeight(const StoredTensor& tensor) {
  const Format* format = FindFormat(tensor.dtype, tensor.scales != nullptr);
  if (!format) {
    std::string known;
    for (const Format& each : kFormats) {
      if (!each.scaled) known += fmt::format("{}{}", known.empty() ? "" : ", ", each.dtype);
    }
    RefuseTensor(tensor,
                 fmt::format("has dtype {}, which cannot be used as a weight without the scales of a known format "
                             "beside it (those that can are {})",
                             tensor.dtype, known));
  }
  const StorageInfo& info = InfoOf(format->storage);
  const BlockLayout layout{info.name, info.block_values, info.block_bytes};
  const Result<int64_t> bytes = BytesOf(layout, tensor.shape);
  if (!bytes.ok()) RefuseTensor(tensor, bytes.error().message);
  if (*bytes == 0) RefuseTensor(tensor, "holds no values");
  if (static_cast<uint64_t>(*bytes) != tensor.data.size()) {
    RefuseTensor(tensor, fmt::format("has {} bytes where its shape needs {}", tensor.data.size(), *bytes));
  }
  Weight weight;
  weight.storage = format->storage;
  weight.cols = tensor.shape.empty() ? 1 : tensor.shape.back();
  weight.row_bytes = weight.cols / info.block_values * info.block_bytes;
  weight.rows = *bytes / weight.row_bytes;
  weight.data = tensor.data.data();
  weight.mapped = tensor.file != nullptr;
  weight.scales = tensor.scales.get();
  weight.dequantize_row = format->dequantize_row;
  return weight;
}

}  // namespace gannet
