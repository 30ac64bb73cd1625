// The GGUF format, versions 2 and 3, little-endian (ggml's docs/gguf.md).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/file_checks.h"

namespace gannet {

struct GgufFile {
  uint32_t version = 3;
  Json metadata;                      // a flat object in the file's order; strings hold the file's bytes, UTF-8 or not
  std::vector<StoredTensor> tensors;  // `data` points into the bytes given, `file` is null
};

// The block layout of a ggml tensor type's number, or null.
const BlockLayout* FindGgmlType(uint32_t type);

// A whole file given as bytes. `name` stands in the sentences. Throws LoadError("checkpoint", ...) for anything that
// does not describe the bytes, for part of a split model, and for metadata beyond 512 MiB or 8 million array elements.
GgufFile ParseGguf(std::string_view name, std::span<const std::byte> bytes);

}  // namespace gannet
