// The kernels a model uses, one by one, beside the machine's roofs.
#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "engine/model.h"
#include "kernels/measure.h"
#include "kernels/roof.h"

namespace gannet {

struct KernelRow {
  std::string kernel;  // "mxfp4 x int8 avx2", "latent attention f32"
  std::string size;    // "1536 x 2048", "20/1 heads of 576"
  int64_t count = 0;   // matrices, or layers, of the model that are like this
  int64_t rows = 0;
  int64_t context = 0;  // of attention
  KernelSpeed speed;
  Operands operands = Operands::kFp32;  // whose peak its operations stand beside
};

// Products with `rows` rows each, and attention of one row behind each of `contexts` tokens.
std::vector<KernelRow> MeasureKernels(Model& model, const std::vector<int>& rows, const std::vector<int>& contexts);
// 10^9 bytes a second that the machine reads of the weights a step of `streams` tokens needs, other experts in each
// step, while it does nothing else; zero where it cannot be measured.
double MeasureStepReads(Model& model, int streams);
std::string TableOf(const std::vector<KernelRow>& kernels, const MachineRoof& roof);
Json JsonOf(const std::vector<KernelRow>& kernels, const MachineRoof& roof);

}  // namespace gannet
