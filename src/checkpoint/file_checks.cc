#include "checkpoint/file_checks.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "base/json.h"

namespace gannet {

void RefuseFile(std::string_view file, std::string_view sentence) {
  throw LoadError("checkpoint", fmt::format("{}: {}", file, sentence));
}

std::string Quoted(std::string_view name) {
  constexpr size_t kShown = 80;
  std::string shown = Json(name.substr(0, kShown)).Dump();
  if (name.size() > kShown) shown.insert(shown.size() - 1, "...");
  return shown;
}

std::string FewNames(const std::vector<std::string>& names) {
  const size_t shown = std::min<size_t>(names.size(), 4);
  std::string text = fmt::format("{}", fmt::join(names.begin(), names.begin() + static_cast<ptrdiff_t>(shown), ", "));
  if (names.size() > shown) text += fmt::format(" and {} more", names.size() - shown);
  return text;
}

Result<int64_t> ValuesOf(std::span<const int64_t> shape) {
  int64_t values = 1;
  for (const int64_t dimension : shape) {
    if (__builtin_mul_overflow(values, dimension, &values)) {
      return Error{fmt::format("has the shape [{}], whose size overflows", fmt::join(shape, ", "))};
    }
  }
  return values;
}

Result<int64_t> BytesOf(const BlockLayout& layout, std::span<const int64_t> shape) {
  GANNET_TRY(const int64_t values, ValuesOf(shape));
  const int64_t innermost = shape.empty() ? 1 : shape.back();
  if (innermost % layout.values != 0) {
    return Error{fmt::format("has rows of {} values, not a multiple of the {} in a block of {}", innermost,
                             layout.values, layout.dtype)};
  }
  int64_t bytes = 0;
  if (__builtin_mul_overflow(values / layout.values, layout.bytes, &bytes)) {
    return Error{fmt::format("has the shape [{}], whose size overflows", fmt::join(shape, ", "))};
  }
  return bytes;
}

}  // namespace gannet
