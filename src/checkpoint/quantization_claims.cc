#include "checkpoint/quantization_claims.h"

#include <fmt/format.h>
#include <fnmatch.h>

#include <algorithm>
#include <map>

#include "checkpoint/file_checks.h"
#include "checkpoint/module_pattern.h"

namespace gannet {
namespace {

ModulePatterns ExcludeList(const Json& quantization) {
  ModulePatterns entries;
  for (const char* key : {"exclude", "ignore", "exclude_modules", "ignored_layers", "modules_to_not_convert"}) {
    const Json* list = quantization.Find(key);
    if (!list || !list->is_array()) continue;
    for (const Json& entry : list->as_array()) {
      if (entry.is_string() && !entry.as_string().empty()) entries.Add(entry.as_string());
    }
  }
  return entries;
}

const Json* FindPath(const Json* json, std::initializer_list<const char*> path) {
  for (const char* key : path) json = json && json->is_object() ? json->Find(key) : nullptr;
  return json;
}

// The dtypes of ours that stand for one of Quark's.
std::vector<std::string_view> TypesOf(std::string_view quark) {
  if (quark == "fp4") return {"MXFP4", "NVFP4"};
  if (quark.starts_with("fp8")) return {"FP8"};
  if (quark == "int8") return {"INT8", "UINT8"};
  if (quark == "int4" || quark == "uint4") return {"INT4", "AWQ", "GPTQ"};
  return {};
}

// What a module's weights are said to be; empty when nothing is said.
class SaidTypes {
 public:
  explicit SaidTypes(const Json& quantization) {
    const Json* method = quantization.Find("quant_method");
    const std::string name = method && method->is_string() ? method->as_string() : "";
    if (name == "fp8") all_ = {"FP8"};
    if (name == "mxfp4") all_ = {"MXFP4"};
    if (name == "awq") all_ = {"AWQ"};
    if (name == "gptq") all_ = {"GPTQ", "GPTQ8"};
    if (auto types = TypeIn(quantization.Find("global_quant_config")); !types.empty()) all_ = std::move(types);
    if (const Json* layers = quantization.Find("layer_quant_config"); layers && layers->is_object()) {
      for (const Json::Member& layer : layers->as_object()) layers_.emplace_back(layer.key, TypeIn(&layer.value));
    }
  }
  const std::vector<std::string_view>& Of(const std::string& module) const {
    for (const auto& [glob, types] : layers_) {
      if (fnmatch(glob.c_str(), module.c_str(), 0) == 0) return types;
    }
    return all_;
  }

 private:
  static std::vector<std::string_view> TypeIn(const Json* config) {
    const Json* dtype = FindPath(config, {"weight", "dtype"});
    return dtype && dtype->is_string() ? TypesOf(dtype->as_string()) : std::vector<std::string_view>{};
  }

  std::vector<std::string_view> all_;
  std::vector<std::pair<std::string, std::vector<std::string_view>>> layers_;
};

// Modules that a quantizer of linear layers takes unless told otherwise.
bool IsTarget(std::string_view module, bool fp8) {
  const std::string_view last = module.substr(module.rfind('.') + 1);
  if (fp8 && (last == "eh_proj" || last == "weights_proj")) return false;  // never quantized in DeepSeek's
  return last.find("_proj") != std::string_view::npos && !last.ends_with("bias");
}

}  // namespace

std::vector<std::string> CompareWithClaims(const Json& config, const TensorMap& tensors) {
  const Json* quantization = config.Find("quantization_config");
  if (!quantization || !quantization->is_object()) return {};
  const Json* method = quantization->Find("quant_method");
  const bool fp8 = method && *method == Json("fp8");
  ModulePatterns exclude = ExcludeList(*quantization);
  const SaidTypes said(*quantization);
  std::map<std::string, std::vector<std::string>> disagree;  // sentence -> modules
  for (const auto& [name, tensor] : tensors) {
    const std::string module = name.ends_with(".weight") ? name.substr(0, name.size() - 7) : name;
    const bool excluded = exclude.Match(module);
    if (tensor.scales && excluded) {
      disagree[fmt::format("excludes {{}} that the files hold as {}", tensor.dtype)].push_back(module);
    } else if (tensor.scales) {
      const std::vector<std::string_view>& types = said.Of(module);
      if (!types.empty() && std::ranges::find(types, tensor.dtype) == types.end()) {
        disagree[fmt::format("has {} for {{}} that the files hold as {}", types.front(), tensor.dtype)].push_back(
            module);
      }
    } else if (!excluded && tensor.shape.size() >= 2 && IsTarget(module, fp8)) {
      disagree[fmt::format("does not exclude {{}} that the files hold as {}", tensor.dtype)].push_back(module);
    }
  }
  std::vector<std::string> sentences;
  for (const auto& [sentence, modules] : disagree) {
    const std::string names =
        fmt::format("{} {} ({})", modules.size(), modules.size() == 1 ? "module" : "modules", FewNames(modules));
    sentences.push_back(
        fmt::format("quantization_config {}; read as held", fmt::format(fmt::runtime(sentence), names)));
  }
  for (const std::string& text : exclude.broken()) {
    sentences.push_back(fmt::format("quantization_config excludes {}, which is no regular expression", Quoted(text)));
  }
  if (const std::vector<std::string> idle = exclude.unmatched(); !idle.empty()) {
    sentences.push_back(fmt::format("quantization_config excludes {} {} that the files do not have: {}", idle.size(),
                                    idle.size() == 1 ? "module" : "modules", FewNames(idle)));
  }
  return sentences;
}

}  // namespace gannet
