// The usual name of every slot's tensor in both dialects, and what sort of tensor it is.
#pragma once

#include <string_view>

#include "spec/tensor_names.h"

namespace gannet {

enum class SlotKind { kMatrix, kVector, kNorm };

struct SlotNames {
  Slot slot;
  SlotKind kind;
  std::string_view name;          // in reports
  std::string_view hugging_face;  // whole, or after "model.layers.<l>."; "{}" is the expert
  std::string_view gguf;          // whole, or after "blk.<l>."
};
const SlotNames& NamesOf(Slot slot);
bool IsOfExpert(Slot slot);

}  // namespace gannet
