// What config.json says about a checkpoint's quantized tensors, compared with what the files hold.
#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "checkpoint/formats/siblings.h"

namespace gannet {

// Every tensor is read as the files hold it (its dtype, shape and scales); quantization_config, of Quark, ModelOpt,
// compressed-tensors, FP8, MXFP4, AWQ or GPTQ, can only agree or not. Returns one sentence for each way in which it
// does not, naming modules: excluded but quantized, not excluded but plain, of another type than said, entries of its
// exclude list that match no module. Entries are ModulePatterns.
std::vector<std::string> CompareWithClaims(const Json& config, const TensorMap& tensors);

}  // namespace gannet
