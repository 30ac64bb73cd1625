#include "cli/complete.h"

#include <fmt/format.h>

#include <cstdio>
#include <memory>
#include <optional>

#include "base/log.h"
#include "chat/text_stream.h"
#include "cli/common.h"
#include "engine/mailbox.h"
#include "server/text_model.h"

namespace gannet {
namespace {

struct CompleteFlags {
  RunFlags run;
  std::string prompt;
  std::string ids;
  int max_tokens = 128;
  float temperature = 0;
  float top_p = 1;
  int top_k = 0;
  uint64_t seed = 0;
  std::vector<std::string> stop;
  std::vector<std::string> spans;
  bool print_ids = false;
  bool ignore_eos = false;
};

int Complete(const CompleteFlags& flags) {
  std::shared_ptr<const TextModel> text;
  Request request;
  if (flags.ids.empty()) {
    text = TextModel::Load(flags.run.model);
    request.prompt = text->tokenizer->Encode(flags.prompt);
  } else {
    request.prompt = ParseIds(flags.ids);
    if (!flags.print_ids || !flags.ignore_eos) text = TextModel::Load(flags.run.model);
  }
  request.bidirectional_spans = ParseSpans(flags.spans, std::ssize(request.prompt));
  const std::unique_ptr<Model> model = LoadModel(flags.run);
  Engine engine(*model, {.max_running = 1});
  request.sampling.temperature = flags.temperature;
  request.sampling.top_p = flags.top_p;
  request.sampling.top_k = flags.top_k;
  request.sampling.seed = flags.seed;
  request.sampling.max_tokens = flags.max_tokens;
  if (text && !flags.ignore_eos) request.sampling.stop_ids = text->end_ids;

  const auto queue = std::make_shared<TokenQueue>();
  const RequestId id = OrThrow(engine.Submit(std::move(request), queue));
  std::optional<TextStream> stream;
  if (text && !flags.print_ids) stream.emplace(text->tokenizer, flags.stop, /*skip_special=*/true);
  bool first = true;
  const auto print = [](const std::string& piece) {
    std::fwrite(piece.data(), 1, piece.size(), stdout);
    std::fflush(stdout);
  };
  while (true) {
    const TokenEvent event = queue->Next();
    if (event.finish == FinishReason::kError) throw std::runtime_error(std::string(event.error));
    if (event.has_token && flags.print_ids) {
      print(fmt::format("{}{}", first ? "" : ",", event.token));
      first = false;
    }
    if (event.has_token && stream && event.finish != FinishReason::kStop) {
      const TextStream::Piece piece = stream->Push(event.token);
      print(piece.text);
      if (piece.stopped) {
        engine.Cancel(id);
        break;
      }
    }
    if (event.finish != FinishReason::kNone) {
      if (stream) print(stream->Finish().text);
      break;
    }
  }
  print("\n");
  return 0;
}

}  // namespace

void AddComplete(CommandLine& command_line) {
  Command command = command_line.AddCommand("complete", "continue a prompt, given as text or as token ids");
  auto flags = std::make_shared<CompleteFlags>();
  AddRunFlags(command, flags->run);
  Option prompt = command.AddOption("--prompt", flags->prompt, "the text to continue");
  Option ids = command.AddOption("--ids", flags->ids, "the token ids to continue: 1,2,3");
  prompt.Excludes(ids);
  command.AddOption("--max-tokens", flags->max_tokens, "tokens to generate at most").ShowDefault();
  command.AddOption("--temperature", flags->temperature, "0 takes the likeliest token").ShowDefault();
  command.AddOption("--top-p", flags->top_p, "sample among the likeliest tokens of this mass").ShowDefault();
  command.AddOption("--top-k", flags->top_k, "sample among this many likeliest tokens").ShowDefault();
  command.AddOption("--seed", flags->seed, "the same seed gives the same tokens").ShowDefault();
  command.AddOption("--stop", flags->stop, "end before this text; may be given several times");
  AddSpansFlag(command, flags->spans);
  command.AddFlag("--print-ids", flags->print_ids, "print token ids, not text");
  command.AddFlag("--ignore-eos", flags->ignore_eos, "do not end at the model's end tokens");
  command.SetCallback([flags, prompt, ids] {
    if (prompt.given() == ids.given()) throw UsageError("complete needs either --prompt or --ids");
    return Complete(*flags);
  });
}

}  // namespace gannet
