// Any bytes as a safetensors file, and any bytes as a header before a few bytes of data.
#include <cstring>
#include <string>

#include "checkpoint/formats/format.h"
#include "checkpoint/safetensors.h"

namespace {

void Parse(std::span<const std::byte> bytes) {
  try {
    std::vector<float> row;
    for (const gannet::StoredTensor& tensor : gannet::ParseSafetensors("fuzz", bytes)) {
      try {
        const gannet::Weight weight = gannet::MakeWeight(tensor);
        row.resize(static_cast<size_t>(weight.cols));
        weight.dequantize_row(weight, weight.rows - 1, row.data());
      } catch (const gannet::LoadError&) {
      }
    }
  } catch (const gannet::LoadError&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Parse(std::as_bytes(std::span(data, size)));
  const uint64_t header = size / 8 * 8;
  std::string file(sizeof(header) + header + 16, '\x7f');
  std::memcpy(file.data(), &header, sizeof(header));
  if (header > 0) std::memcpy(file.data() + sizeof(header), data, header);
  Parse(std::as_bytes(std::span(file)));
  return 0;
}
