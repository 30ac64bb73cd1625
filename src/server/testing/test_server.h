// A server over a fake engine, and a plain blocking HTTP client that shares no code with it.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
#include "server/server.h"
#include "server/testing/fake_engine.h"

namespace gannet::server_testing {

// 256 bytes as tokens 0..255, "<|end|>" as 256, and a template that writes "<role>content" for each message.
std::shared_ptr<const TextModel> TestText(bool with_template = true);

struct HttpReply {
  int status = 0;                              // 0: the connection ended, or nothing came for 5 s
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;                            // without the chunks' frames
  Json json() const;                           // asserts that the body is JSON
  // The data of the server-sent events.
  std::vector<std::string> events() const;
};

class Client {
 public:
  explicit Client(uint16_t port, int receive_buffer = 0);
  ~Client();
  Client(const Client&) = delete;

  bool Send(std::string_view bytes);
  HttpReply Read(bool head = false);             // the next response
  std::string ReadUntil(std::string_view mark);  // all bytes up to and with `mark`, or what came
  bool AtEnd();                                  // the server has closed; waits up to 5 s
  void HalfClose();
  void Close();

 private:
  bool More();
  int socket_ = -1;
  std::string input_;
};

std::string Get(std::string_view path, std::string_view headers = "");
std::string Post(std::string_view path, std::string_view body, std::string_view headers = "");

struct TestServer {
  explicit TestServer(ServerOptions options = {}, bool ready = true, bool with_template = true);

  HttpReply Ask(const std::string& request);    // on a connection of its own
  HttpReply Complete(const std::string& body);  // POST /v1/completions
  HttpReply Chat(const std::string& body);      // POST /v1/chat/completions

  FakeEngine engine;
  std::shared_ptr<const TextModel> text;
  Server server;
};

}  // namespace gannet::server_testing
