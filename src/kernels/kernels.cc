#include "kernels/kernels.h"

#include "kernels/cpu/tables.h"
#include "kernels/reference/reference.h"

namespace gannet {

const std::vector<const Kernels*>& AvailableKernels() {
  static const std::vector<const Kernels*> tables = [] {
    std::vector<const Kernels*> found = CpuTables();
    found.push_back(&ReferenceKernels());
    return found;
  }();
  return tables;
}

const Kernels* FindKernels(std::string_view name) {
  for (const Kernels* table : AvailableKernels()) {
    if (name == "auto" || name == table->name) return table;
  }
  return nullptr;
}

}  // namespace gannet
