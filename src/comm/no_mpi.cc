// Built where there is no MPI: one process alone.
#include <cstdlib>

#include "comm/communicator.h"

namespace gannet {

bool IsFollower() { return false; }

std::shared_ptr<Communicator> JoinWorld() {
  if (const char* size = std::getenv("OMPI_COMM_WORLD_SIZE"); size && std::atoi(size) > 1) {
    throw CommError("this build has no MPI: install libopenmpi-dev and build again, or start it without mpirun");
  }
  return std::make_shared<Communicator>();
}

}  // namespace gannet
