// Which part of every tensor a rank reads: a pure function of the plan.
#pragma once

#include <string>
#include <vector>

#include "checkpoint/tensor_plan.h"
#include "spec/sharding.h"

namespace gannet {

// The plan of a whole model with every weight cut down to one rank's part: rows or columns of it, its heads, its
// experts. Biases that are added to sums over ranks stay with rank 0.
std::vector<PlannedTensor> ShardTensors(const ModelSpec& whole, const std::vector<PlannedTensor>& plan,
                                        const Sharding& sharding);
// What the ranks of 1, 2, 4 and 8 read, as text: parameters of every rank, and of the first and the last one a line for
// each weight of the layers that differ.
std::string DescribeShards(const ModelSpec& whole, const std::vector<PlannedTensor>& plan);

}  // namespace gannet
