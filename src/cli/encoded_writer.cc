#include "cli/encoded_writer.h"

#include <algorithm>

#include "base/result.h"
#include "checkpoint/file_checks.h"
#include "checkpoint/safetensors.h"

namespace gannet {
namespace {

constexpr int64_t kChunkValues = int64_t{16} << 20;
constexpr int64_t kBlockRows = 128;  // a multiple of every encoder's group of rows

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
      return QuantizedPart::kVocabulary;
    case Slot::kKeyUp:
    case Slot::kKeyUpT:
    case Slot::kValueUp:
      return QuantizedPart::kLatent;
    default:
      return QuantizedPart::kNone;
  }
}

const Encoder* EncoderFor(const std::string& flag, std::span<const FileTensor> tensors) {
  const bool stacks = std::ranges::any_of(tensors, &FileTensor::transposed);
  return flag == "mxfp4" && stacks ? &GptOssEncoder() : FindEncoder(flag);
}

bool Takes(const Encoder& encoder, const FileTensor& tensor) {
  if (encoder.dialect == QuantDialect::kGptOss) return tensor.transposed && encoder.fits(1, tensor.shape[1]);
  return tensor.shape.size() == 2 && tensor.name.ends_with(".weight") && PartOf(tensor.slot) != QuantizedPart::kNone &&
         encoder.fits(tensor.shape[0], tensor.shape[1]);
}

std::vector<int64_t> MatrixOf(const FileTensor& tensor) {
  if (!tensor.transposed) return tensor.shape;
  return {tensor.shape[0], tensor.shape[2], tensor.shape[1]};
}

std::string ModuleOf(const std::string& name) {
  constexpr std::string_view kEnding = ".weight";
  return name.ends_with(kEnding) ? name.substr(0, name.size() - kEnding.size()) : name;
}

int64_t EncodedWriter::RowsTogether(int64_t k) {
  return std::max<int64_t>(1, kChunkValues / std::max<int64_t>(k, 1) / kBlockRows) * kBlockRows;
}

void EncodedWriter::Declare(const std::string& name, std::string_view dtype, const std::vector<int64_t>& shape) {
  if (shape.size() == 2 && name.ends_with(".weight")) modules_[ModuleOf(name)] = nullptr;
  writer_.Declare(name, dtype, shape);
  bytes_ += BytesOf(*FindSafetensorsDtype(dtype), shape).value();
}

void EncodedWriter::DeclareEncoded(const std::string& name, const std::vector<int64_t>& matrix,
                                   const Encoder& encoder) {
  const int64_t k = matrix.back();
  Encoded encoded{&encoder, ValuesOf(matrix).value() / std::max<int64_t>(k, 1), k};
  GANNET_ASSERT(encoder.fits(encoded.n, k), "matrices of whole groups are encoded");
  const std::string module = ModuleOf(name);
  for (const EncodedPart& part : encoder.parts) {
    const std::vector<int64_t> shape = part.shape(matrix);
    const int64_t bytes = BytesOf(*FindSafetensorsDtype(part.dtype), shape).value();
    encoded.parts.push_back({module + std::string(part.ending), bytes, {}});
    writer_.Declare(encoded.parts.back().name, part.dtype, shape);
    bytes_ += bytes;
  }
  modules_[module] = &encoder;
  encoded_.emplace(name, std::move(encoded));
}

int64_t EncodedWriter::WriteRows(const std::string& name, std::span<const float> rows, float largest) {
  Encoded& encoded = encoded_.at(name);
  const Encoder& encoder = *encoded.encoder;
  const int64_t k = encoded.k;
  const int64_t count = std::ssize(rows) / std::max<int64_t>(k, 1);
  const int64_t first = encoded.written;
  encoded.written += count;
  const bool done = encoded.written == encoded.n;
  GANNET_ASSERT(encoded.written <= encoded.n && (count % encoder.group_rows == 0 || done), "rows come in whole groups");

  Part& values = encoded.parts[0];
  const int64_t row_bytes = encoder.along_n ? 0 : values.bytes / encoded.n;
  values.buffer.resize(static_cast<size_t>(encoder.along_n ? values.bytes : count * row_bytes));
  std::vector<std::byte*> others;
  for (Part& part : std::span(encoded.parts).subspan(1)) {
    part.buffer.resize(static_cast<size_t>(part.bytes));
    others.push_back(part.buffer.data());
  }
  pool_.ParallelFor((count + encoder.group_rows - 1) / encoder.group_rows, [&](int64_t group, int) {
    const int64_t at = group * encoder.group_rows;
    const MatrixRows group_rows{
        rows.data() + at * k, first + at, std::min(encoder.group_rows, count - at), encoded.n, k, largest};
    encoder.encode(group_rows, values.buffer.data() + at * row_bytes, others.data());
  });
  const int64_t bytes = values.bytes / encoded.n * count;
  if (!encoder.along_n && !done) writer_.Write(values.name, values.buffer);
  if (!done) return bytes;
  for (const Part& part : encoded.parts) writer_.Write(part.name, part.buffer);
  encoded_.erase(name);
  return bytes;
}

namespace {

Json QuarkType(std::string_view dtype, std::string_view scheme) {
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
}

struct CompressedType {
  std::string_view flag;
  std::string_view format;
  std::string_view type;
  int bits;
  std::string_view strategy;
};
constexpr CompressedType kCompressedTypes[] = {
    {"nvfp4-packed", "nvfp4-pack-quantized", "float", 4, "tensor_group"},
    {"fp8-channel", "float-quantized", "float", 8, "channel"},
    {"fp8-tensor", "float-quantized", "float", 8, "tensor"},
    {"int4", "pack-quantized", "int", 4, "group"},
};

void SetCompressedTensors(const Encoder& encoder, Json& config) {
  const CompressedType& type = *std::ranges::find(kCompressedTypes, encoder.flag, &CompressedType::flag);
  Json weights;
  weights.Set("num_bits", type.bits);
  weights.Set("type", std::string(type.type));
  weights.Set("strategy", std::string(type.strategy));
  if (encoder.group_cols > 1) weights.Set("group_size", encoder.group_cols);
  weights.Set("symmetric", true);
  weights.Set("dynamic", false);
  Json group;
  group.Set("targets", Json(Json::Array{"Linear"}));
  group.Set("weights", std::move(weights));
  config.Set("config_groups", Json{}).Set("group_0", std::move(group));
  config.Set("format", std::string(type.format));
  config.Set("quantization_status", "compressed");
}

}  // namespace

Json EncodedWriter::QuantizationConfig(const Encoder& encoder) const {
  Json::Array plain;
  Json others{Json::Object{}};  // Quark: what differs from the rest
  for (const auto& [module, used] : modules_) {
    if (!used) plain.push_back(module);
    if (used && used != &encoder) others.Set(module, QuarkType(used->flag, "per_channel"));
  }
  Json config;
  std::string_view plain_key = "modules_to_not_convert";
  switch (encoder.dialect) {
    case QuantDialect::kQuark:
      config.Set("quant_method", "quark");
      config.Set("global_quant_config",
                 encoder.flag == "mxfp4" ? QuarkType("fp4", "per_group") : QuarkType("int8", "per_channel"));
      if (!others.as_object().empty()) config.Set("layer_quant_config", std::move(others));
      {
        Json& exported = config.Set("export", Json{});
        exported.Set("weight_format", "real_quantized");
        exported.Set("pack_method", "reorder");
      }
      plain_key = "exclude";
      break;
    case QuantDialect::kDeepSeek:
      config.Set("quant_method", "fp8");
      config.Set("fmt", "e4m3");
      config.Set("activation_scheme", "dynamic");
      config.Set("weight_block_size", Json(Json::Array{128, 128}));
      break;
    case QuantDialect::kModelOpt:
      config.Set("quant_method", "modelopt");
      config.Set("quant_algo", "NVFP4");
      plain_key = "ignore";
      break;
    case QuantDialect::kCompressedTensors:
      config.Set("quant_method", "compressed-tensors");
      SetCompressedTensors(encoder, config);
      plain_key = "ignore";
      break;
    case QuantDialect::kAwq:
    case QuantDialect::kGptq:
      config.Set("quant_method", std::string(encoder.flag));
      config.Set("bits", 4);
      config.Set("group_size", encoder.group_cols);
      if (encoder.dialect == QuantDialect::kAwq) {
        config.Set("zero_point", true);
        config.Set("version", "gemm");
      } else {
        config.Set("desc_act", false);
        config.Set("sym", true);
        config.Set("checkpoint_format", "gptq");
      }
      break;
    case QuantDialect::kGptOss:
      config.Set("quant_method", "mxfp4");
      break;
  }
  config.Set(std::string(plain_key), Json(std::move(plain)));
  return config;
}

}  // namespace gannet
