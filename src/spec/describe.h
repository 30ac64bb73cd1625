// A ModelSpec as text: for goldens (tests/configs) and `gannet inspect`.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "spec/layer_spec.h"

namespace gannet {

// Lines "part: words" of one layer: mixer, rope, window, qk norm, biases, ffn, residual, norm. Two layers are equal iff
// their descriptions are: every field is in them, floats with all their digits.
std::vector<std::pair<std::string, std::string>> DescribeLayer(const LayerSpec& layer);

// The same of a draft head: input, output, draft norm, then its layer.
std::vector<std::pair<std::string, std::string>> DescribeDraft(const DraftHead& head);

// Layers that are equal and follow each other.
struct LayerRun {
  int first = 0;
  int last = 0;
  std::vector<std::pair<std::string, std::string>> parts;
};
std::vector<LayerRun> LayerRuns(const ModelSpec& spec);

// Many lines, each ended.
std::string Describe(const ModelSpec& spec);

// "0-27, 30" for ascending indices.
std::string DescribeIndices(const std::vector<int>& indices);

}  // namespace gannet
