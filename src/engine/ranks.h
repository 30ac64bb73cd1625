// One model in several processes: rank 0 sends every step to the others, which compute their part of it.
#pragma once

#include <cstdint>

#include "comm/communicator.h"
#include "engine/model.h"
#include "kv_cache/kv_cache.h"
#include "layers/batch.h"

namespace gannet {

// Rank 0: the step that all ranks compute next. Followers make a cache like `cache` first, unless its id is `known`.
void SendStep(Communicator& comm, const Batch& batch, const KvCache& cache, int64_t known);
// Rank 0: the others may go.
void SendEnd(Communicator& comm);
// Every other rank: computes its part of each step until SendEnd.
void Follow(Model& model, Communicator& comm);

}  // namespace gannet
