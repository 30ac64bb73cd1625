// How fast streams that run side by side generate.
#pragma once

#include <span>
#include <vector>

namespace gannet {

// Tokens a second of all streams together while all of them generate: from the first token of the stream that begins
// last to the last token of the one that ends first. `arrivals`: seconds at which each stream's tokens came, two or
// more. The streams of a step get their tokens one after another, so that of the last step only some come in time:
// each stream counts for itself, its tokens within over the time since the one before them. Streams that never all
// generate at once count with all of their tokens.
double TokensPerSecond(std::span<const std::vector<double>> arrivals);

}  // namespace gannet
