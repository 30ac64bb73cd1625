// Formats that keep one weight in several tensors of a safetensors file: values, scales, zero points.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/json.h"
#include "checkpoint/checkpoint.h"

namespace gannet {

using TensorMap = std::map<std::string, StoredTensor, std::less<>>;

// Joins them to one tensor each, under the name that the same model has in bf16 ("x.weight"), with the shape of the
// matrix, a dtype of its own (MXFP4, NVFP4, FP8, INT8, UINT8, INT4, AWQ, GPTQ, GPTQ8) and its scales. What tensors
// belong together is decided from their names, dtypes and shapes alone; of `config` only what those do not tell is
// read: block sizes of FP8 and the version of GPTQ. Scales of activations are dropped. Returns sentences about what was
// dropped. Throws LoadError("checkpoint", ...) naming the tensors that look like a format and are not.
std::vector<std::string> JoinScaledTensors(const std::string& where, const Json& config, TensorMap& tensors);

}  // namespace gannet
