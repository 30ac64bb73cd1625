// What hwloc says of this machine.
#pragma once

#include <cstdint>
#include <string>

namespace gannet {

struct CpuTopology {
  int cores = 1;             // physical cores this process may run on
  int threads = 1;           // hardware threads this process may run on
  int64_t memory_bytes = 0;  // of the machine, or of the control group if that is smaller
  std::string cpu_model;
};
const CpuTopology& ThisMachine();

// Memory that can still be had without swapping (MemAvailable, bounded by the control group).
int64_t AvailableMemoryBytes();

// This process is one of `parts` that share the machine's cores: the part-th run of `threads` cores is its own. Returns
// on how many memory nodes these lie.
int ShareMachine(int part, int parts, int threads);

// Pages of an area of memory that are first touched from now on come from those nodes in turn, so that all of them are
// read at once. A request: the system may refuse it.
void SpreadOverNodes(void* area, int64_t bytes);

// Binds the calling thread to the index-th allowed core; does nothing when `count` threads exceed the allowed cores.
void BindThisThreadToCore(int index, int count);

}  // namespace gannet
