#include <algorithm>
#include <vector>

#include "kernels/kv_block.h"
#include "kernels/reference/reference.h"

namespace gannet::reference {

void ChooseKeys(const ChooseKeysArgs& args, ThreadPool& pool) {
  const int64_t dim = args.pages.layout.key_dim;
  for (const AttentionSequence& sequence : args.sequences) {
    pool.ParallelFor(sequence.row_count, [&](int64_t index, int) {
      const int64_t row = sequence.row_begin + index;
      const KeySpan span = args.spans[static_cast<size_t>(row)];
      if (SeesAll(span, args.top_k)) return ChooseAll(span, row, args.out);
      std::vector<float> scores;
      for (int64_t j = span.begin; j < span.end; ++j) {
        const std::byte* block = args.pages.block(sequence.blocks[static_cast<size_t>(j / kBlockTokens)]);
        double score = 0;
        for (int64_t h = 0; h < args.heads; ++h) {
          const float* q = args.q + row * args.q_stride + h * dim;
          double product = 0;
          for (int64_t d = 0; d < dim; ++d) {
            product += static_cast<double>(q[d]) * ReadKey(args.pages.layout, block, 0, d, j % kBlockTokens);
          }
          score += args.weights[row * args.weights_stride + h] * std::max(0.0, product);
        }
        scores.push_back(static_cast<float>(score));
      }
      ChooseBest(scores, span, args.top_k, row, args.out);
    });
  }
}

}  // namespace gannet::reference
