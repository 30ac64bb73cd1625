#include "cli/logits.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <memory>

#include "base/npy.h"
#include "cli/common.h"
#include "engine/batch_builder.h"

namespace gannet {
namespace {

struct LogitsFlags {
  RunFlags run;
  std::string ids;
  int64_t chunk = 0;
  int64_t prompt = 0;
  std::string out;
};

int Logits(const LogitsFlags& flags) {
  const std::vector<TokenId> ids = ParseIds(flags.ids);
  if (ids.empty()) throw UsageError("--ids is empty");
  const int64_t count = static_cast<int64_t>(ids.size());
  const int64_t chunk = std::min(flags.chunk > 0 ? flags.chunk : 512, count);
  const std::unique_ptr<Model> model = LoadModel(flags.run, chunk);
  const int64_t vocab = model->spec().vocab;
  for (const TokenId id : ids) {
    if (id < 0 || id >= vocab) throw UsageError(fmt::format("--ids holds {}, but the vocabulary has {}", id, vocab));
  }
  KvCache cache(model->kv_plan(), {.tokens = count, .running = 1, .step_tokens = chunk, .prefix_cache = false});
  const std::unique_ptr<KvSequence> sequence = cache.Open(ids);
  BatchBuilder builder(model->kv_plan());
  std::vector<float> rows;
  rows.reserve(static_cast<size_t>(count * vocab));
  for (int64_t first = 0; first < count; first += chunk) {
    const std::span<const TokenId> tokens(ids.data() + first, static_cast<size_t>(std::min(chunk, count - first)));
    if (!cache.Append(*sequence, tokens)) throw std::runtime_error("the cache is too small for these ids");
    builder.Clear();
    builder.Add(*sequence, first, tokens, flags.prompt > 0 ? flags.prompt : count, WantLogits::kAll);
    const std::span<const float> logits = model->Forward(builder.batch(), cache);
    rows.insert(rows.end(), logits.begin(), logits.end());
    cache.Commit(*sequence, sequence->length());
  }
  const std::array<int64_t, 2> shape = {count, vocab};
  WriteNpy(flags.out, shape, rows);
  return 0;
}

}  // namespace

void AddLogits(CLI::App& app, int& exit_code) {
  CLI::App* command = app.add_subcommand("logits", "write the logits of given token ids, fp32 [rows, vocab], as .npy");
  auto flags = std::make_shared<LogitsFlags>();
  AddRunFlags(*command, flags->run);
  command->add_option("--ids", flags->ids, "token ids: 1,2,3")->required();
  command->add_option("--chunk", flags->chunk, "rows computed at once (default 512)")->check(CLI::Range(1, 1 << 20));
  command
      ->add_option("--prompt", flags->prompt,
                   "how many of the ids are prompt (default: all); the rows after them are computed as generated ones")
      ->check(CLI::Range(1, 1 << 30));
  command->add_option("--out", flags->out, "the .npy file, - for stdout")->required();
  command->callback([flags, &exit_code] { exit_code = Logits(*flags); });
}

}  // namespace gannet
