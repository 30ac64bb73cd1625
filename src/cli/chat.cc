#include "cli/chat.h"

#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <iostream>
#include <memory>

#include "base/json.h"
#include "chat/chat_request.h"
#include "chat/text_stream.h"
#include "cli/common.h"
#include "engine/mailbox.h"
#include "server/text_model.h"

namespace gannet {
namespace {

struct ChatFlags {
  RunFlags run;
  std::string system;
  int max_tokens = 1024;
  float temperature = -1;
  uint64_t seed = 0;
};

Json Message(std::string_view role, std::string_view content) {
  Json message;
  message.Set("role", role);
  message.Set("content", content);
  return message;
}

void Print(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

// Streams one answer to stdout and returns it.
std::string Answer(Engine& engine, const TextModel& text, const ChatFlags& flags, const Json& messages) {
  Json chat;
  chat.Set("messages", messages);
  Request request;
  request.prompt = text.tokenizer->Encode(OrThrow(RenderChat(text, chat)), {.add_special = false});
  const int64_t room = engine.max_context() - static_cast<int64_t>(request.prompt.size());
  if (room < 1) throw UsageError("the conversation no longer fits the context; begin anew");
  SamplingParams& sampling = request.sampling;
  sampling.temperature = flags.temperature >= 0 ? flags.temperature : text.defaults.temperature;
  sampling.top_p = text.defaults.top_p;
  sampling.top_k = text.defaults.top_k;
  sampling.min_p = text.defaults.min_p;
  sampling.repetition_penalty = text.defaults.repetition_penalty;
  sampling.seed = flags.seed;
  sampling.max_tokens = static_cast<int>(std::min<int64_t>(flags.max_tokens, room));
  sampling.stop_ids = text.end_ids;

  const auto queue = std::make_shared<TokenQueue>();
  OrThrow(engine.Submit(std::move(request), queue));
  TextStream stream(text.tokenizer, {}, /*skip_special=*/true);
  std::string answer;
  const auto begin = std::chrono::steady_clock::now();
  TokenEvent event;
  do {
    event = queue->Next();
    std::string piece;
    if (event.has_token && event.finish != FinishReason::kStop) piece = stream.Push(event.token).text;
    if (event.finish != FinishReason::kNone) piece += stream.Finish().text;
    Print(piece);
    answer += piece;
  } while (event.finish == FinishReason::kNone);
  if (event.finish == FinishReason::kError) throw std::runtime_error(std::string(event.error));
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  Print("\n");
  if (isatty(STDERR_FILENO)) {
    std::fputs(
        fmt::format("[{} tokens, {:.0f} a second]\n", event.generated_tokens, event.generated_tokens / seconds).c_str(),
        stderr);
  }
  return answer;
}

int Chat(const ChatFlags& flags) {
  const std::shared_ptr<const TextModel> text = TextModel::Load(flags.run.model);
  if (!text->chat_template) throw UsageError(flags.run.model + " has no chat template: use gannet complete");
  const std::unique_ptr<Model> model = LoadModel(flags.run);
  Engine engine(*model, {.max_running = 1});
  const bool terminal = isatty(STDIN_FILENO) != 0;
  Json messages{Json::Array{}};
  if (!flags.system.empty()) messages.Append(Message("system", flags.system));
  if (terminal) std::fputs("Type a message; Ctrl-D ends.\n", stderr);
  std::string line;
  while (true) {
    if (terminal) Print("> ");
    if (!std::getline(std::cin, line)) break;
    if (line.empty()) continue;
    messages.Append(Message("user", line));
    const std::string answer = Answer(engine, *text, flags, messages);
    messages.Append(Message("assistant", answer));
  }
  return 0;
}

}  // namespace

void AddChat(CommandLine& command_line) {
  Command command = command_line.AddCommand("chat", "talk in the terminal: one message a line on stdin");
  auto flags = std::make_shared<ChatFlags>();
  AddRunFlags(command, flags->run);
  command.AddOption("--system", flags->system, "the system message");
  command.AddOption("--max-tokens", flags->max_tokens, "longest answer").ShowDefault();
  command.AddOption("--temperature", flags->temperature, "0 takes the likeliest token (default: the model's own)");
  command.AddOption("--seed", flags->seed, "the same seed gives the same tokens").ShowDefault();
  command.SetCallback([flags] { return Chat(*flags); });
}

}  // namespace gannet
