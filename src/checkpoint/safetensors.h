// The safetensors format (huggingface.co/docs/safetensors): 8 bytes of header length, a JSON header, the data.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "checkpoint/file_checks.h"

namespace gannet {

inline constexpr uint64_t kMaxSafetensorsHeader = 100'000'000;  // bytes; the format's own limit

// The element layout of a safetensors dtype ("BF16", "F8_E4M3", ...), or null.
const BlockLayout* FindSafetensorsDtype(std::string_view dtype);

// Byte multiple at which data of this layout has to start: the element size for powers of two, else 1.
inline int64_t AlignmentOf(const BlockLayout& layout) { return layout.bytes & -layout.bytes; }

// The tensors of a whole file given as bytes; `data` points into `bytes`, `file` is null. `name` stands in the
// sentences. Throws LoadError("checkpoint", ...) for any header that does not describe the bytes exactly: the data is
// tiled by the tensors, each aligned to its element, as the reference library writes it.
std::vector<StoredTensor> ParseSafetensors(std::string_view name, std::span<const std::byte> bytes);

}  // namespace gannet
