#include "cli/serve.h"

#include <fmt/format.h>

#include <chrono>
#include <future>
#include <memory>
#include <stdexcept>

#include "base/log.h"
#include "cli/common.h"
#include "server/server.h"

namespace gannet {
namespace {

struct ServeFlags {
  RunFlags run;
  EngineOptions engine;
  ServerOptions server;
  std::string chat_template;
  bool no_prefix_cache = false;
};

int Serve(const ServeFlags& flags) {
  if (IsFollower()) LoadModel(flags.run, flags.engine.max_batch_rows);  // works there to the end
  // Listening comes first, so that a port in use is known before minutes of loading, and /health can say "loading".
  auto server = std::make_shared<Server>(flags.server);
  Log().info("listening on {} (loading {})", server->address(), flags.run.model);
  const std::shared_ptr<const TextModel> text = TextModel::Load(flags.run.model, flags.chat_template);
  const std::unique_ptr<Model> model = LoadModel(flags.run, flags.engine.max_batch_rows);
  EngineOptions options = flags.engine;
  options.prefix_cache = !flags.no_prefix_cache;
  std::promise<std::string> failure;
  options.failed = [&failure, server = std::weak_ptr(server)](const std::string& reason) {
    failure.set_value(reason);
    if (const auto alive = server.lock()) alive->BeginDrain();  // its clients hear of it, and Run returns
  };
  Engine engine(*model, options);
  EngineAdapter adapter(engine);
  server->SetReady(text, adapter);
  Log().info("serving {} on {}, context {} tokens{}", text->name, server->address(), engine.max_context(),
             text->chat_template ? "" : "; the model has no chat template, so only /v1/completions answers");
  const bool finished = server->Run();
  server.reset();  // before the engine it talks to
  std::future<std::string> failed = failure.get_future();
  if (failed.wait_for(std::chrono::seconds(0)) == std::future_status::ready) throw std::runtime_error(failed.get());
  Log().info(finished ? "stopped" : "stopped; the time to finish ran out on some requests");
  return 0;
}

}  // namespace

void AddServe(CommandLine& command_line) {
  Command command = command_line.AddCommand("serve", "answer OpenAI's HTTP API: completions and chat completions");
  auto flags = std::make_shared<ServeFlags>();
  ServerOptions& server = flags->server;
  EngineOptions& engine = flags->engine;
  AddRunFlags(command, flags->run);
  command.AddOption("--host", server.host, "address to listen on").ShowDefault();
  command.AddOption("--port", server.port, "port to listen on; 0 takes a free one and says which").ShowDefault();
  command.AddOption("--api-key-file", server.api_key_file, "a file with API keys, one a line; clients must send one");
  command.AddOption("--served-model-name", server.model_name, "the model's name in the API (default: its file's)");
  command.AddOption("--chat-template", flags->chat_template, "a Jinja file in place of the model's own template");
  command.AddOption("--max-running", engine.max_running, "requests decoded together").Range(1, 4096).ShowDefault();
  command.AddOption("--max-waiting", engine.max_waiting, "requests in the queue; beyond it clients get 429")
      .Range(1, 1000000)
      .ShowDefault();
  command.AddOption("--max-batch-rows", engine.max_batch_rows, "tokens of a step, prompts and answers together")
      .Range(1, 65536)
      .ShowDefault();
  command.AddOption("--max-context", engine.max_context, "longest prompt and answer together; 0: the model's own")
      .Range(int64_t{0}, int64_t{1} << 40)
      .ShowDefault();
  command.AddOption("--cache-tokens", engine.cache_tokens, "tokens the cache holds; 0: as the memory limit allows")
      .Range(int64_t{0}, int64_t{1} << 40)
      .ShowDefault();
  command.AddFlag("--no-prefix-cache", flags->no_prefix_cache, "compute every prompt anew");
  command.AddOption("--io-threads", server.io_threads, "threads that talk to clients").Range(1, 64).ShowDefault();
  command.AddOption("--max-connections", server.max_connections, "clients at a time; others get 503")
      .Range(1, 100000)
      .ShowDefault();
  command.AddOption("--max-body-bytes", server.max_body_bytes, "largest request; beyond it 413")
      .Range(size_t{1}, size_t{1} << 30)
      .ShowDefault();
  const auto seconds = [&](const char* name, double& value, const char* text) {
    command.AddOption(name, value, text).Range(0.0, 86400.0).ShowDefault();
  };
  seconds("--drain-timeout", server.drain_timeout_s, "seconds that accepted requests have after SIGTERM");
  seconds("--header-timeout", server.header_timeout_s, "seconds a client has to send a request's header");
  seconds("--body-timeout", server.body_timeout_s, "seconds a client has to send a request's body");
  seconds("--idle-timeout", server.idle_timeout_s, "seconds a connection may rest between requests");
  seconds("--write-timeout", server.write_timeout_s, "seconds a client may take without reading anything");
  command.SetCallback([flags] { return Serve(*flags); });
}

}  // namespace gannet
