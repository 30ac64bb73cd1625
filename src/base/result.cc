#include "base/result.h"

#include <cstdio>
#include <cstdlib>

namespace gannet {

void AssertFailed(const char* file, int line, const char* sentence) {
  std::fprintf(stderr, "gannet: internal error at %s:%d: %s\n", file, line, sentence);
  std::abort();
}

}  // namespace gannet
