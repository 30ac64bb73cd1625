// Memory for packed weights in huge pages: many matrices share a chunk, which lives as long as any of them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace gannet {

// `bytes` zeroed bytes aligned to 64, followed by at least 64 readable bytes. Throws LoadError("kernels", ...) when
// the machine has no such memory. Safe from any thread.
std::shared_ptr<std::byte> AllocatePacked(int64_t bytes);

}  // namespace gannet
