#include "comm/communicator.h"

#include <cstdlib>

namespace gannet {

void Communicator::Abort(int exit_code) { std::_Exit(exit_code); }

}  // namespace gannet
