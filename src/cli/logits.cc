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
  std::vector<std::string> spans;
  int64_t head = -1;  // draft head; -1: the model itself
  std::string out;
};

int Logits(const LogitsFlags& flags) {
  const std::vector<TokenId> ids = ParseIds(flags.ids);
  if (ids.empty()) throw UsageError("--ids is empty");
  if (flags.head >= 0 && !flags.spans.empty()) throw UsageError("--mtp and --bidirectional exclude each other");
  const int64_t count = static_cast<int64_t>(ids.size());
  const int64_t prompt_rows = flags.prompt > 0 ? flags.prompt : count;
  const AttentionMask mask = AttentionMask::Bidirectional(ParseSpans(flags.spans, std::min(prompt_rows, count)));
  const int64_t chunk = std::min(flags.chunk > 0 ? flags.chunk : 512, count);
  int64_t most = 0;  // rows of a step: a span is not cut
  for (int64_t first = 0, end = 0; first < count; first = end) {
    end = mask.Cut(first, std::min(first + chunk, count));
    most = std::max(most, end - first);
  }
  const std::unique_ptr<Model> model = LoadModel(flags.run, most, /*drafts=*/flags.head >= 0);
  model->pool().BindCaller();
  const int64_t vocab = model->spec().vocab;
  for (const TokenId id : ids) {
    if (id < 0 || id >= vocab) throw UsageError(fmt::format("--ids holds {}, but the vocabulary has {}", id, vocab));
  }
  const int64_t heads = static_cast<int64_t>(model->spec().drafts.size());
  if (flags.head >= heads) {
    throw UsageError(heads == 0
                         ? "--mtp: the configuration of this model names no draft head"
                         : fmt::format("--mtp={}, but the model's draft heads are 0 to {}", flags.head, heads - 1));
  }
  const int64_t ahead = flags.head + 1;  // tokens that a head sees beyond its row
  if (count <= ahead) throw UsageError(fmt::format("--mtp={} needs at least {} ids", flags.head, ahead + 1));
  KvCache cache(model->kv_plan(), {.tokens = count, .running = 1, .step_tokens = most, .prefix_cache = false});
  const std::unique_ptr<KvSequence> sequence = cache.Open(ids);
  BatchBuilder builder(model->kv_plan());
  std::vector<float> rows;
  rows.reserve(static_cast<size_t>((count - ahead) * vocab));
  for (int64_t first = 0, end = 0; first < count; first = end) {
    end = mask.Cut(first, std::min(first + chunk, count));
    const std::span<const TokenId> tokens(ids.data() + first, static_cast<size_t>(end - first));
    if (!cache.Append(*sequence, tokens)) throw std::runtime_error("the cache is too small for these ids");
    builder.Clear();
    builder.Add(*sequence, first, tokens, prompt_rows, WantLogits::kAll, mask);
    std::span<const float> logits = model->Forward(builder.batch(), cache);
    std::vector<float> of_model;
    if (flags.head >= 0) of_model.assign(model->hidden().begin(), model->hidden().end());
    std::vector<float> hidden = of_model;
    for (int64_t head = 0; head <= flags.head; ++head) {
      const int64_t count_here = std::clamp<int64_t>(count - head - 1 - first, 0, static_cast<int64_t>(tokens.size()));
      const std::vector<float>& taken = model->spec().drafts[static_cast<size_t>(head)].chained ? hidden : of_model;
      builder.Clear();
      builder.Add(*sequence, first,
                  std::span(ids).subspan(static_cast<size_t>(first + head + 1), static_cast<size_t>(count_here)),
                  prompt_rows, WantLogits::kAll);
      logits = model->ForwardDraft(static_cast<size_t>(head), builder.batch(), cache,
                                   std::span(taken).first(static_cast<size_t>(count_here * model->spec().hidden)));
      hidden.assign(model->hidden().begin(), model->hidden().end());
    }
    rows.insert(rows.end(), logits.begin(), logits.end());
    cache.Commit(*sequence, sequence->length());
  }
  const std::array<int64_t, 2> shape = {count - ahead, vocab};
  WriteNpy(flags.out, shape, rows);
  return 0;
}

}  // namespace

void AddLogits(CommandLine& command_line) {
  Command command =
      command_line.AddCommand("logits", "write the logits of given token ids, fp32 [rows, vocab], as .npy");
  auto flags = std::make_shared<LogitsFlags>();
  AddRunFlags(command, flags->run);
  command.AddOption("--ids", flags->ids, "token ids: 1,2,3").Required();
  command.AddOption("--chunk", flags->chunk, "rows computed at once (default 512)").Range(1, 1 << 20);
  command
      .AddOption("--prompt", flags->prompt,
                 "how many of the ids are prompt (default: all); the rows after them are computed as generated ones")
      .Range(1, 1 << 30);
  command
      .AddOption("--mtp", flags->head,
                 "of the draft head instead: row i drafts token i + 2; --mtp N: of head N, token i + 2 + N")
      .ValueOptional()
      .Range(0, 64);
  AddSpansFlag(command, flags->spans);
  command.AddOption("--out", flags->out, "the .npy file, - for stdout").Required();
  command.SetCallback([flags] { return Logits(*flags); });
}

}  // namespace gannet
