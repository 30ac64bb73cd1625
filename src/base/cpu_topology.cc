#include "base/cpu_topology.h"

#include <hwloc.h>

#include <algorithm>
#include <fstream>
#include <limits>

namespace gannet {
namespace {

class Topology {
 public:
  Topology() {
    hwloc_topology_init(&topology_);
    hwloc_topology_load(topology_);
  }
  ~Topology() { hwloc_topology_destroy(topology_); }
  hwloc_topology_t get() const { return topology_; }

 private:
  hwloc_topology_t topology_;
};

const Topology& SharedTopology() {
  static const Topology topology;
  return topology;
}

int64_t NumberIn(const char* path) {
  std::ifstream file(path);
  int64_t number = 0;
  return file >> number ? number : std::numeric_limits<int64_t>::max();  // absent, or "max"
}

int64_t CgroupHeadroom() {
  const int64_t limit = NumberIn("/sys/fs/cgroup/memory.max");
  const int64_t used = NumberIn("/sys/fs/cgroup/memory.current");
  if (limit == std::numeric_limits<int64_t>::max() || used == std::numeric_limits<int64_t>::max()) return limit;
  return limit - used;
}

CpuTopology Read() {
  hwloc_topology_t topology = SharedTopology().get();
  CpuTopology machine;
  machine.cores = std::max(1, hwloc_get_nbobjs_by_type(topology, HWLOC_OBJ_CORE));
  machine.threads = std::max(1, hwloc_get_nbobjs_by_type(topology, HWLOC_OBJ_PU));
  machine.memory_bytes = static_cast<int64_t>(hwloc_get_root_obj(topology)->total_memory);
  machine.memory_bytes = std::min(machine.memory_bytes, NumberIn("/sys/fs/cgroup/memory.max"));
  if (const hwloc_obj_t package = hwloc_get_obj_by_type(topology, HWLOC_OBJ_PACKAGE, 0)) {
    if (const char* model = hwloc_obj_get_info_by_name(package, "CPUModel")) machine.cpu_model = model;
  }
  return machine;
}

int this_part = 0;
int parts_in_all = 1;

class NodeSet {
 public:
  NodeSet() = default;
  ~NodeSet() { hwloc_bitmap_free(set_); }
  NodeSet(const NodeSet&) = delete;
  NodeSet& operator=(const NodeSet&) = delete;
  hwloc_nodeset_t get() const { return set_; }
  int count() const { return std::max(1, hwloc_bitmap_weight(set_)); }

 private:
  hwloc_nodeset_t set_ = hwloc_bitmap_alloc();
};

NodeSet& MyNodes() {
  static NodeSet nodes;
  return nodes;
}

// The core of the index-th of `count` threads; null where they are more than the cores.
hwloc_obj_t CoreOfThread(int index, int count) {
  if (count * parts_in_all > ThisMachine().cores) return nullptr;
  const int core = this_part * count + index;
  return hwloc_get_obj_by_type(SharedTopology().get(), HWLOC_OBJ_CORE, static_cast<unsigned>(core));
}

}  // namespace

int ShareMachine(int part, int parts, int threads) {
  this_part = part;
  parts_in_all = parts;
  NodeSet& nodes = MyNodes();
  hwloc_bitmap_zero(nodes.get());
  for (int i = 0; i < threads; ++i) {
    const hwloc_obj_t core = CoreOfThread(i, threads);
    const hwloc_obj_t place = core ? core : hwloc_get_root_obj(SharedTopology().get());
    hwloc_bitmap_or(nodes.get(), nodes.get(), place->nodeset);
  }
  return nodes.count();
}

void SpreadOverNodes(void* area, int64_t bytes) {
  const NodeSet& nodes = MyNodes();
  if (nodes.count() == 1) return;
  hwloc_set_area_membind(SharedTopology().get(), area, static_cast<size_t>(bytes), nodes.get(),
                         HWLOC_MEMBIND_INTERLEAVE, HWLOC_MEMBIND_BYNODESET);
}

const CpuTopology& ThisMachine() {
  static const CpuTopology machine = Read();
  return machine;
}

int64_t AvailableMemoryBytes() {
  std::ifstream file("/proc/meminfo");
  std::string key;
  int64_t kib = 0;
  std::string unit;
  int64_t available = ThisMachine().memory_bytes;
  while (file >> key >> kib >> unit) {
    if (key == "MemAvailable:") {
      available = kib * 1024;
      break;
    }
  }
  return std::min(available, CgroupHeadroom());
}

void BindThisThreadToCore(int index, int count) {
  const hwloc_obj_t core = CoreOfThread(index, count);
  if (!core) return;
  hwloc_cpuset_t set = hwloc_bitmap_dup(core->cpuset);
  hwloc_bitmap_singlify(set);
  hwloc_set_cpubind(SharedTopology().get(), set, HWLOC_CPUBIND_THREAD);
  hwloc_bitmap_free(set);
}

}  // namespace gannet
