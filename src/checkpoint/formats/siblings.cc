#include "checkpoint/formats/siblings.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>
#include <cstring>
#include <optional>

#include "base/result.h"

namespace gannet {
namespace {

using Shape = std::vector<int64_t>;

int64_t CountOf(const Shape& shape) {
  int64_t count = 1;
  for (const int64_t n : shape) count *= n;
  return count;
}

int64_t GroupsOf(int64_t values, int64_t group) { return (values + group - 1) / group; }

std::optional<ScaleType> ScaleTypeOf(const StoredTensor& tensor) {
  if (tensor.dtype == "F32") return ScaleType::kF32;
  if (tensor.dtype == "F16") return ScaleType::kF16;
  if (tensor.dtype == "BF16") return ScaleType::kBF16;
  if (tensor.dtype == "U8" || tensor.dtype == "F8_E8M0") return ScaleType::kE8M0;
  if (tensor.dtype == "F8_E4M3") return ScaleType::kE4M3;
  return std::nullopt;
}

// What the tensors of a module are joined into.
struct Joined {
  StoredTensor weight;  // its `data` are the values'
  Scales scales;
  std::vector<std::string> parts;  // names that go away
};

// One module's tensors: "<module>.weight", "<module>.weight_scale", ...
class Module {
 public:
  Module(const std::string& where, const TensorMap& tensors, const std::string& stem)
      : where_(where), tensors_(tensors), stem_(stem) {}

  // The tensor with this ending, remembered as part of the module; null if there is none.
  const StoredTensor* Part(std::string_view ending) {
    const auto found = tensors_.find(stem_ + std::string(ending));
    if (found == tensors_.end()) return nullptr;
    parts_.push_back(found->first);
    return &found->second;
  }
  const StoredTensor* Peek(std::string_view ending) const {
    const auto found = tensors_.find(stem_ + std::string(ending));
    return found == tensors_.end() ? nullptr : &found->second;
  }

  const std::vector<std::string>& parts() const { return parts_; }

  [[noreturn]] void Refuse(std::string_view format, std::string_view rule) const {
    std::vector<std::string> found;
    for (const std::string& part : parts_) {
      const StoredTensor& tensor = tensors_.at(part);
      found.push_back(fmt::format("{} is {} [{}]", part, tensor.dtype, fmt::join(tensor.shape, ", ")));
    }
    throw LoadError("checkpoint", fmt::format("{}: {}; as {} {}", where_, fmt::join(found, ", "), format, rule));
  }

  float Scalar(const StoredTensor& tensor, std::string_view format) const {
    if (tensor.dtype != "F32" || CountOf(tensor.shape) != 1) {
      Refuse(format, fmt::format("{} must be one F32 value", tensor.name));
    }
    float value;
    std::memcpy(&value, tensor.data.data(), sizeof(value));
    return value;
  }

  Joined Join(const StoredTensor& values, std::string_view dtype, Shape shape, const StoredTensor& scales,
              std::string_view name_ending = ".weight") const {
    Joined joined;
    joined.weight = values;
    joined.weight.name = stem_ + std::string(name_ending);
    joined.weight.dtype = dtype;
    joined.weight.shape = std::move(shape);
    joined.scales.type = ScaleTypeOf(scales).value_or(ScaleType::kF32);
    joined.scales.data = scales.data.data();
    joined.scales.whole_rows = CountOf(joined.weight.shape) / joined.weight.shape.back();
    return joined;
  }

 private:
  const std::string& where_;
  const TensorMap& tensors_;
  std::string stem_;
  std::vector<std::string> parts_;
};

// Scales [N, K / group]: `cols` consecutive values of a row share one.
void ShareAlongRows(Scales& scales, int64_t group, int64_t row_length) {
  scales.group_cols = group;
  scales.row_step = row_length / group;
}

// The group of each column, where that is not column / group; null where it is.
const std::byte* GroupOrder(const Module& module, const StoredTensor& order, int64_t k, int64_t group, int64_t groups) {
  if (order.dtype != "I32" || order.shape != Shape{k}) module.Refuse("groups in an order", "g_idx must be I32 [K]");
  bool in_order = true;
  for (int64_t i = 0; i < k; ++i) {
    int32_t of;
    std::memcpy(&of, order.data.data() + 4 * i, 4);
    if (of < 0 || of >= groups) {
      module.Refuse("groups in an order", fmt::format("g_idx has {}, but there are {} groups", of, groups));
    }
    in_order = in_order && of == i / group;
  }
  return in_order ? nullptr : order.data.data();
}

constexpr std::string_view kFourBitRule =
    "the values must be U8 [N, K/2] with scales U8 [N, K/32] (MXFP4) or F8_E4M3 [N, K/16] (NVFP4)";

// MXFP4 (OCP MX 1.0; AMD Quark, compressed-tensors) and NVFP4 (ModelOpt, Quark, compressed-tensors).
Joined JoinFourBitFloats(Module& module, const StoredTensor& values, const StoredTensor& scale) {
  if (values.shape.size() != 2 || scale.shape.size() != 2 || scale.shape[0] != values.shape[0]) {
    module.Refuse("4-bit floats", kFourBitRule);
  }
  const Shape shape{values.shape[0], 2 * values.shape[1]};
  const int64_t k = shape[1];
  const std::optional<ScaleType> type = ScaleTypeOf(scale);
  if (type == ScaleType::kE8M0 && k % 32 == 0 && scale.shape[1] == k / 32) {
    Joined joined = module.Join(values, "MXFP4", shape, scale);
    ShareAlongRows(joined.scales, 32, k);
    return joined;
  }
  if (type != ScaleType::kE4M3 || k % 16 != 0 || scale.shape[1] != k / 16) module.Refuse("4-bit floats", kFourBitRule);
  const StoredTensor* factor = module.Part(".weight_scale_2");
  const StoredTensor* divisor = factor ? nullptr : module.Part(".weight_global_scale");
  if (!factor && !divisor) module.Refuse("NVFP4", "weight_scale_2 or weight_global_scale must stand beside them");
  const float global = module.Scalar(factor ? *factor : *divisor, "NVFP4");
  Joined joined = module.Join(values, "NVFP4", shape, scale);
  ShareAlongRows(joined.scales, 16, k);
  joined.scales.factor = factor ? global : 1 / global;
  return joined;
}

// gpt-oss: <name>_blocks U8 [E, N, K/32, 16], <name>_scales U8 [E, N, K/32] of what is [E, K, N] in bf16.
Joined JoinGptOss(Module& module, const StoredTensor& blocks) {
  const StoredTensor* scales = module.Part("_scales");
  const Shape& b = blocks.shape;
  if (!scales || b.size() != 4 || b[3] != 16 || scales->shape != Shape{b[0], b[1], b[2]} ||
      ScaleTypeOf(*scales) != ScaleType::kE8M0) {
    module.Refuse("MXFP4", "the blocks must be U8 [E, N, K/32, 16] with scales U8 [E, N, K/32]");
  }
  Joined joined = module.Join(blocks, "MXFP4", {b[0], b[1], 32 * b[2]}, *scales, "");
  joined.weight.transposed = true;
  ShareAlongRows(joined.scales, 32, 32 * b[2]);
  return joined;
}

// FP8 by blocks (DeepSeek-V3: weight_scale_inv, which multiplies), by rows or as a whole.
Joined JoinEightBits(Module& module, const StoredTensor& values, const StoredTensor& scale, bool blocks,
                     const Json* quantization) {
  const bool fp8 = values.dtype == "F8_E4M3";
  const std::string_view dtype = fp8 ? "FP8" : "INT8";
  if (values.shape.size() != 2 || !ScaleTypeOf(scale)) {
    module.Refuse(dtype, "the values must be a matrix with scales of F32, F16, BF16 or E8M0");
  }
  const int64_t n = values.shape[0], k = values.shape[1];
  Joined joined = module.Join(values, dtype, values.shape, scale);
  const int64_t count = CountOf(scale.shape);
  if (!blocks && (count == 1 || (count == n && scale.shape[0] == n))) {
    joined.scales.group_rows = count == 1 ? std::max<int64_t>(n, 1) : 1;
    joined.scales.group_cols = std::max<int64_t>(k, 1);
    joined.scales.row_step = 1;
    return joined;
  }
  int64_t rows = 128, cols = 128;
  if (const Json* size = quantization ? quantization->Find("weight_block_size") : nullptr;
      size && size->is_array() && size->as_array().size() == 2) {
    rows = size->as_array()[0].as_int().value_or(0);
    cols = size->as_array()[1].as_int().value_or(0);
  }
  if (rows < 1 || cols < 1 || scale.shape != Shape{GroupsOf(n, rows), GroupsOf(k, cols)}) {
    module.Refuse(dtype, fmt::format("the scales must be one value, one for each row, or one for each block of {} x {}",
                                     rows, cols));
  }
  joined.scales.group_rows = rows;
  joined.scales.group_cols = cols;
  joined.scales.row_step = scale.shape[1];
  return joined;
}

// compressed-tensors' pack-quantized: int32 [N, K * bits / 32], the lowest bits first, values + 2^(bits - 1).
Joined JoinPackedIntegers(Module& module, const StoredTensor& words) {
  const std::string_view rule =
      "the values must be I32 [N, K * bits / 32] of 4 or 8 bits with weight_scale [N, K / group] and weight_shape [2]";
  const StoredTensor* scale = module.Part(".weight_scale");
  const StoredTensor* size = module.Part(".weight_shape");
  if (!scale || !size || words.dtype != "I32" || words.shape.size() != 2 || size->data.size() != 16 ||
      size->dtype != "I64" || !ScaleTypeOf(*scale) || scale->shape.size() != 2) {
    module.Refuse("packed integers", rule);
  }
  std::array<int64_t, 2> shape;
  std::memcpy(shape.data(), size->data.data(), 16);
  const auto [n, k] = shape;
  const int64_t bits = k > 0 ? 32 * words.shape[1] / k : 0;
  const int64_t groups = scale->shape[1];
  if (words.shape[0] != n || (bits != 4 && bits != 8) || words.shape[1] * 32 != k * bits || scale->shape[0] != n ||
      groups < 1 || k % groups != 0) {
    module.Refuse("packed integers", rule);
  }
  Joined joined = module.Join(words, bits == 4 ? "INT4" : "UINT8", {n, k}, *scale);
  ShareAlongRows(joined.scales, k / groups, k);
  joined.scales.zero = 1 << (bits - 1);
  if (const StoredTensor* zeros = module.Part(".weight_zero_point")) {
    if (zeros->dtype != "I32" || zeros->shape != Shape{GroupsOf(n * bits, 32), groups}) {
      module.Refuse("packed integers", "the zero points must be I32 [N * bits / 32, K / group]");
    }
    joined.scales.zeros = zeros->data.data();
    joined.scales.zero_layout = ZeroLayout::kRowsByGroups;
    joined.scales.zero_step = groups;
    joined.scales.zero_bits = static_cast<int>(bits);
    joined.scales.zero = 0;
  }
  if (const StoredTensor* order = module.Part(".weight_g_idx")) {
    joined.scales.group_of = GroupOrder(module, *order, k, k / groups, groups);
  }
  return joined;
}

// AWQ (gemm): I32 [K, N/8] in its own order. GPTQ: I32 [K * bits / 32, N]. Both with scales [K / group, N].
Joined JoinColumns(Module& module, const StoredTensor& words, const Json* quantization) {
  const std::string_view rule =
      "qweight must be I32 [K, N/8] (AWQ) or I32 [K * bits / 32, N] (GPTQ) with qzeros I32 [K / group, N * bits / 32] "
      "and "
      "scales [K / group, N]";
  const StoredTensor* scales = module.Part(".scales");
  const StoredTensor* zeros = module.Part(".qzeros");
  const StoredTensor* order = module.Part(".g_idx");
  if (!scales || !zeros || words.dtype != "I32" || words.shape.size() != 2 || scales->shape.size() != 2 ||
      !ScaleTypeOf(*scales) || zeros->dtype != "I32" || zeros->shape.size() != 2) {
    module.Refuse("AWQ or GPTQ", rule);
  }
  const int64_t groups = scales->shape[0], n = scales->shape[1];
  const int64_t bits = n > 0 ? 32 * zeros->shape[1] / n : 0;
  const bool awq = words.shape[1] * 8 == n;
  const int64_t k = awq ? words.shape[0] : words.shape[0] * 32 / std::max<int64_t>(bits, 1);
  if ((bits != 4 && bits != 8) || (awq && bits != 4) || (!awq && words.shape[1] != n) || groups < 1 || k < 1 ||
      zeros->shape != Shape{groups, n * bits / 32}) {
    module.Refuse("AWQ or GPTQ", rule);
  }
  int64_t group = GroupsOf(k, groups);
  if (const Json* size = quantization ? quantization->Find("group_size") : nullptr; size && size->as_int() > 0) {
    group = *size->as_int();
  }
  if (GroupsOf(k, group) != groups) module.Refuse("AWQ or GPTQ", fmt::format("group_size {} does not fit", group));
  Joined joined = module.Join(words, awq ? "AWQ" : bits == 4 ? "GPTQ" : "GPTQ8", {n, k}, *scales);
  joined.scales.group_cols = group;
  joined.scales.row_step = 1;
  joined.scales.col_step = n;
  joined.scales.zeros = zeros->data.data();
  joined.scales.zero_layout = awq ? ZeroLayout::kGroupsByRowsAwq : ZeroLayout::kGroupsByRows;
  joined.scales.zero_step = zeros->shape[1];
  joined.scales.zero_bits = static_cast<int>(bits);
  const Json* version = quantization ? quantization->Find("checkpoint_format") : nullptr;
  joined.scales.zero = awq || (version && version->is_string() && version->as_string() == "gptq_v2") ? 0 : 1;
  if (order) joined.scales.group_of = GroupOrder(module, *order, k, group, groups);
  return joined;
}

std::optional<Joined> TryJoin(Module& module, std::string_view ending, const Json* quantization) {
  if (ending == "_blocks") {
    if (!module.Peek("_scales")) return std::nullopt;
    return JoinGptOss(module, *module.Part(ending));
  }
  if (ending == ".qweight") return JoinColumns(module, *module.Part(ending), quantization);
  const StoredTensor& values = *module.Part(ending);
  if (ending == ".weight_packed" && values.dtype == "I32") return JoinPackedIntegers(module, values);
  const StoredTensor* inverse = module.Part(".weight_scale_inv");
  const StoredTensor* scale = inverse ? inverse : module.Part(".weight_scale");
  if (!scale) return std::nullopt;
  if (values.dtype == "U8") return JoinFourBitFloats(module, values, *scale);
  if (values.dtype == "F8_E4M3" || values.dtype == "I8") {
    return JoinEightBits(module, values, *scale, inverse != nullptr, quantization);
  }
  module.Refuse("a quantized weight", "the values must be U8, F8_E4M3 or I8");
}

}  // namespace

std::vector<std::string> JoinScaledTensors(const std::string& where, const Json& config, TensorMap& tensors) {
  const Json* quantization = config.Find("quantization_config");
  if (quantization && !quantization->is_object()) quantization = nullptr;
  std::vector<Joined> all;
  for (const auto& [name, tensor] : tensors) {
    for (const std::string_view ending : {".weight", ".weight_packed", ".qweight", "_blocks"}) {
      if (!name.ends_with(ending)) continue;
      Module module(where, tensors, name.substr(0, name.size() - ending.size()));
      if (std::optional<Joined> joined = TryJoin(module, ending, quantization)) {
        joined->parts = module.parts();
        all.push_back(std::move(*joined));
      }
    }
  }
  for (Joined& joined : all) {
    const int64_t values = std::ssize(joined.weight.data);
    for (const std::string& part : joined.parts) {
      const auto found = tensors.find(part);
      joined.weight.scale_bytes += std::ssize(found->second.data);
      tensors.erase(found);
    }
    joined.weight.scale_bytes -= values;
    joined.weight.scales = std::make_shared<const Scales>(joined.scales);
    std::string name = joined.weight.name;
    const auto [there, added] = tensors.emplace(std::move(name), std::move(joined.weight));
    if (!added) {
      throw LoadError("checkpoint",
                      fmt::format("{}: tensor {} is there both plain and quantized", where, there->first));
    }
  }
  std::vector<std::string> notices;
  for (const std::string_view ending :
       {".input_scale", ".input_global_scale", ".output_scale", ".k_scale", ".v_scale", ".input_zero_point"}) {
    const size_t dropped = std::erase_if(tensors, [&](const auto& each) { return each.first.ends_with(ending); });
    if (dropped > 0) {
      notices.push_back(
          fmt::format("{} tensors *{}: scales of activations or of the cache, which are not rounded to the "
                      "checkpoint's types here",
                      dropped, ending));
    }
  }
  return notices;
}

}  // namespace gannet
