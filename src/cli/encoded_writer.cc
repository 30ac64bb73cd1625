#include "cli/encoded_writer.h"

#include <algorithm>

#include "base/result.h"
#include "checkpoint/file_checks.h"
#include "checkpoint/safetensors.h"

namespace gannet {
namespace {

constexpr int64_t kChunkValues = int64_t{16} << 20;
constexpr int64_t kBlockRows = 128;  // a multiple of every encoder's group of rows

std::string ModuleOf(const std::string& name) { return name.substr(0, name.size() - std::string(".weight").size()); }

}  // namespace

QuantizedPart PartOf(Slot slot) {
  switch (slot) {
    case Slot::kQ:
    case Slot::kK:
    case Slot::kV:
    case Slot::kO:
    case Slot::kGate:
    case Slot::kQDown:
    case Slot::kQUp:
    case Slot::kKvDown:
    case Slot::kIndexQ:
    case Slot::kIndexK:
    case Slot::kDraftProjection:
    case Slot::kFfnGate:
    case Slot::kFfnUp:
    case Slot::kFfnDown:
    case Slot::kExpertGate:
    case Slot::kExpertUp:
    case Slot::kExpertDown:
    case Slot::kSharedGate:
    case Slot::kSharedUp:
    case Slot::kSharedDown:
      return QuantizedPart::kProjection;
    case Slot::kEmbedding:
    case Slot::kLmHead:
    case Slot::kDraftLmHead:
    case Slot::kKeyUp:
    case Slot::kKeyUpT:
    case Slot::kValueUp:
      return QuantizedPart::kSensitive;
    default:
      return QuantizedPart::kNone;
  }
}

int64_t EncodedWriter::RowsTogether(int64_t k) {
  return std::max<int64_t>(1, kChunkValues / std::max<int64_t>(k, 1) / kBlockRows) * kBlockRows;
}

void EncodedWriter::Declare(const std::string& name, std::string_view dtype, const std::vector<int64_t>& shape,
                            const Encoder* encoder) {
  if (shape.size() == 2 && name.ends_with(".weight")) modules_[ModuleOf(name)] = encoder;
  if (!encoder) {
    writer_.Declare(name, dtype, shape);
    bytes_ += BytesOf(*FindSafetensorsDtype(dtype), shape).value();
    return;
  }
  GANNET_ASSERT(shape.size() == 2 && encoder->fits(shape[1]) && name.ends_with(".weight"),
                "matrices whose rows are whole blocks are encoded");
  const int64_t n = shape[0], k = shape[1];
  writer_.Declare(name, encoder->values_dtype, encoder->values_shape(n, k));
  writer_.Declare(name + std::string(encoder->scales_ending), encoder->scales_dtype, encoder->scales_shape(n, k));
  bytes_ += encoder->value_bytes(n, k) + encoder->scales_of(n, k);
  encoded_.emplace(name, Encoded{encoder, k, n, {}});
}

void EncodedWriter::WriteRows(const std::string& name, std::span<const float> rows) {
  Encoded& encoded = encoded_.at(name);
  const Encoder& encoder = *encoded.encoder;
  const int64_t k = encoded.k;
  const int64_t count = std::ssize(rows) / std::max<int64_t>(k, 1);
  GANNET_ASSERT(count <= encoded.rows_left && (count % kBlockRows == 0 || count == encoded.rows_left),
                "rows come in whole groups");
  values_.resize(static_cast<size_t>(encoder.value_bytes(count, k)));
  const size_t scales_before = encoded.scales.size();
  encoded.scales.resize(scales_before + static_cast<size_t>(encoder.scales_of(count, k)));
  std::byte* const scales = encoded.scales.data() + scales_before;
  const int64_t groups = (count + encoder.group_rows - 1) / encoder.group_rows;
  pool_.ParallelFor(groups, [&](int64_t group, int) {
    const int64_t first = group * encoder.group_rows;
    encoder.encode(rows.data() + first * k, std::min(encoder.group_rows, count - first), k,
                   values_.data() + encoder.value_bytes(first, k), scales + encoder.scales_of(first, k));
  });
  writer_.Write(name, values_);
  encoded.rows_left -= count;
  if (encoded.rows_left > 0) return;
  writer_.Write(name + std::string(encoder.scales_ending), encoded.scales);
  encoded_.erase(name);
}

Json EncodedWriter::QuantizationConfig(const Encoder& encoder) const {
  Json::Array plain;
  Json others{Json::Object{}};  // Quark: what differs from the rest
  const auto quark = [](std::string_view dtype, std::string_view scheme) {
    Json weight;
    weight.Set("dtype", std::string(dtype));
    weight.Set("qscheme", std::string(scheme));
    if (dtype == "fp4") {
      weight.Set("group_size", 32);
      weight.Set("scale_format", "e8m0");
    }
    weight.Set("is_dynamic", false);
    Json config;
    config.Set("weight", std::move(weight));
    return config;
  };
  for (const auto& [module, used] : modules_) {
    if (!used) plain.push_back(module);
    if (used && used != &encoder) others.Set(module, quark(used->flag, "per_channel"));
  }
  Json config;
  if (encoder.flag == "fp8-block") {
    config.Set("quant_method", "fp8");
    config.Set("fmt", "e4m3");
    config.Set("activation_scheme", "dynamic");
    config.Set("weight_block_size", Json(Json::Array{128, 128}));
    config.Set("modules_to_not_convert", Json(std::move(plain)));
    return config;
  }
  config.Set("quant_method", "quark");
  config.Set("global_quant_config", encoder.flag == "mxfp4" ? quark("fp4", "per_group") : quark("int8", "per_channel"));
  if (!others.as_object().empty()) config.Set("layer_quant_config", std::move(others));
  Json exported;
  exported.Set("weight_format", "real_quantized");
  exported.Set("pack_method", "reorder");
  config.Set("export", std::move(exported));
  config.Set("exclude", Json(std::move(plain)));
  return config;
}

}  // namespace gannet
