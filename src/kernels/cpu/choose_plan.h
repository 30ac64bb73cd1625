// Cuts the choice of keys into tasks: scores of a block of keys for one row, then the best of a row.
#pragma once

#include <cstdint>

#include "base/thread_pool.h"
#include "kernels/choose_keys.h"

namespace gannet {

// scores[j] of tokens [from, to) of one block, in order of the heads; q is [heads, dim rounded up to 16], zeros at the
// end of each.
using IndexScoresOfBlock = void (*)(const float* q, const float* weights, int64_t heads, const KvLayout& layout,
                                    const std::byte* block, int64_t from, int64_t to, float* scores);

void RunChooseKeys(const ChooseKeysArgs& args, ThreadPool& pool, IndexScoresOfBlock scores_of_block);

}  // namespace gannet
