// What the parsers of both file kinds share: sentences of refusal and sizes that cannot overflow.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace gannet {

// Throws LoadError("checkpoint", "<file>: <sentence>").
[[noreturn]] void RefuseFile(std::string_view file, std::string_view sentence);

// A name out of a file, in quotes, printable and of at most 80 bytes.
std::string Quoted(std::string_view name);

// The first four, and how many more.
std::string FewNames(const std::vector<std::string>& names);

// `values` neighbours along K share `bytes` bytes.
struct BlockLayout {
  std::string_view dtype;
  int64_t values;
  int64_t bytes;
};

// Values of a tensor, or an error saying that the product overflows. Dimensions must not be negative.
Result<int64_t> ValuesOf(std::span<const int64_t> shape);

// Bytes of a tensor, or an error: half a sentence saying what is wrong with the shape (a product that overflows, an
// innermost dimension that is not a whole number of blocks).
Result<int64_t> BytesOf(const BlockLayout& layout, std::span<const int64_t> shape);

}  // namespace gannet
