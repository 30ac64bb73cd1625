// The HTTP server: OpenAI's completions and chat completions over one engine.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "server/text_model.h"
#include "server/token_engine.h"

namespace gannet {

struct ServerOptions {
  std::string host = "127.0.0.1";
  uint16_t port = 8080;                     // 0: any free port
  std::filesystem::path api_key_file = {};  // one key a line; empty: no key is asked for
  std::string model_name = {};              // as /v1/models shows it; empty: the model's own
  int io_threads = 1;
  int max_connections = 1024;
  int max_choices = 128;                            // prompts times n, of one HTTP request
  size_t max_body_bytes = size_t{32} << 20;         // of one request; beyond it 413
  size_t max_total_body_bytes = size_t{256} << 20;  // of all requests being read; beyond it 503
  size_t max_unsent_bytes = size_t{4} << 20;  // of one stream whose client does not read; beyond it the stream ends
  double header_timeout_s = 10;               // for a request's head, once begun
  double body_timeout_s = 60;                 // for a request's body
  double idle_timeout_s = 75;                 // of a connection between requests
  double write_timeout_s = 30;                // without a byte accepted by the client
  double heartbeat_s = 15;                    // a comment line in a stream that has nothing else to say
  double drain_timeout_s = 60;                // for accepted requests after SIGTERM
  bool handle_signals = true;                 // SIGTERM and SIGINT drain; a second one ends at once
};

class Server {
 public:
  // Listens from here on and answers 503 "loading" until SetReady. Throws LoadError("server", ...) when the address
  // cannot be listened on or the key file cannot be used.
  explicit Server(const ServerOptions& options);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  uint16_t port() const;
  std::string address() const;  // "http://127.0.0.1:8080"

  // `engine` outlives the server.
  void SetReady(std::shared_ptr<const TextModel> text, TokenEngine& engine);
  // Thread-safe. New work is answered 503; what was accepted finishes, within drain_timeout_s.
  void BeginDrain();
  // Blocks until drained. True if everything accepted was finished, false if the time ran out on something.
  bool Run();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace gannet
