// Any bytes as a GGUF file.
#include "checkpoint/formats/format.h"
#include "checkpoint/gguf.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const gannet::GgufFile file = gannet::ParseGguf("fuzz", std::as_bytes(std::span(data, size)));
    file.metadata.Dump();
    std::vector<float> row;
    for (const gannet::StoredTensor& tensor : file.tensors) {
      try {
        const gannet::Weight weight = gannet::MakeWeight(tensor);
        row.resize(static_cast<size_t>(weight.cols));
        weight.dequantize_row(weight, weight.rows - 1, row.data());
      } catch (const gannet::LoadError&) {
      }
    }
  } catch (const gannet::LoadError&) {
  }
  return 0;
}
