#include "server/testing/test_server.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>

namespace gannet::server_testing {
namespace {

std::string Utf8(int code_point) {
  if (code_point < 0x80) return {static_cast<char>(code_point)};
  return {static_cast<char>(0xc0 | code_point >> 6), static_cast<char>(0x80 | (code_point & 0x3f))};
}

// GPT-2's map of bytes to printable characters, so that ids can be the bytes themselves.
std::string ByteTokenizerJson() {
  Json vocab;
  int shifted = 256;
  for (int byte = 0; byte < 256; ++byte) {
    const bool printable =
        (byte >= '!' && byte <= '~') || (byte >= 0xa1 && byte <= 0xac) || (byte >= 0xae && byte <= 0xff);
    vocab.Set(Utf8(printable ? byte : shifted++), byte);
  }
  return fmt::format(
      R"({{"version":"1.0","truncation":null,"padding":null,"added_tokens":[{{"id":256,"content":"<|end|>","single_word":false,
"lstrip":false,"rstrip":false,"normalized":false,"special":true}}],"normalizer":null,
"pre_tokenizer":{{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":false}},
"post_processor":null,"decoder":{{"type":"ByteLevel","add_prefix_space":true,"trim_offsets":true,"use_regex":true}},
"model":{{"type":"BPE","dropout":null,"unk_token":null,"continuing_subword_prefix":null,"end_of_word_suffix":null,
"fuse_unk":false,"byte_fallback":false,"ignore_merges":false,"vocab":{},"merges":[]}}}})",
      vocab.Dump());
}

}  // namespace

std::shared_ptr<const TextModel> TestText(bool with_template) {
  auto text = std::make_shared<TextModel>();
  text->name = "test-model";
  text->tokenizer = Tokenizer::FromTokenizerJson(ByteTokenizerJson(), nullptr);
  text->end_ids = {kEndId};
  if (with_template) {
    Result<ChatTemplate> parsed = ChatTemplate::Parse(
        "{% for m in messages %}{% if m.role == 'tool' %}{{ raise_exception('no tools here') }}{% endif %}"
        "<{{ m.role }}>{{ m.content }}{% endfor %}"
        "{% if reasoning_effort is defined %}[{{ reasoning_effort }}]{% endif %}"
        "{% if mood is defined %}({{ mood }}){% endif %}{% if add_generation_prompt %}<assistant>{% endif %}");
    EXPECT_TRUE(parsed.ok());
    text->chat_template = std::move(parsed).value();
  }
  return text;
}

Json HttpReply::json() const {
  Result<Json> json = Json::Parse(body);
  EXPECT_TRUE(json.ok()) << body;
  return json.ok() ? std::move(json).value() : Json();
}

std::vector<std::string> HttpReply::events() const {
  std::vector<std::string> events;
  size_t begin = 0;
  while (begin < body.size()) {
    const size_t end = body.find("\n\n", begin);
    EXPECT_NE(end, std::string::npos) << "an event has no end";
    if (end == std::string::npos) break;
    const std::string line = body.substr(begin, end - begin);
    if (!line.starts_with(":")) {
      EXPECT_TRUE(line.starts_with("data: ")) << line;
      events.push_back(line.substr(6));
    }
    begin = end + 2;
  }
  return events;
}

Client::Client(uint16_t port, int receive_buffer) : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  const timeval patience{60, 0};  // as Soon has: a loaded machine is no failure
  ::setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  ::setsockopt(socket_, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
  if (receive_buffer > 0) ::setsockopt(socket_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof(receive_buffer));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(::connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
}

Client::~Client() { Close(); }

void Client::Close() {
  if (socket_ >= 0) ::close(std::exchange(socket_, -1));
}

void Client::HalfClose() { ::shutdown(socket_, SHUT_WR); }

bool Client::Send(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
  return true;
}

bool Client::More() {
  char buffer[65536];
  const ssize_t received = ::recv(socket_, buffer, sizeof(buffer), 0);
  if (received <= 0) return false;
  input_.append(buffer, static_cast<size_t>(received));
  return true;
}

bool Client::AtEnd() {
  char byte;
  if (!input_.empty()) return false;
  const ssize_t received = ::recv(socket_, &byte, 1, 0);
  return received == 0 || (received < 0 && errno == ECONNRESET);
}

std::string Client::ReadUntil(std::string_view mark) {
  while (input_.find(mark) == std::string::npos) {
    if (!More()) return std::exchange(input_, {});
  }
  const size_t end = input_.find(mark) + mark.size();
  std::string out = input_.substr(0, end);
  input_.erase(0, end);
  return out;
}

HttpReply Client::Read(bool head) {
  HttpReply reply;
  const std::string top = ReadUntil("\r\n\r\n");
  if (!top.starts_with("HTTP/1.1 ") || !top.ends_with("\r\n\r\n")) return reply;
  size_t line = top.find("\r\n") + 2;
  while (line + 2 < top.size()) {
    const size_t end = top.find("\r\n", line);
    const size_t colon = top.find(": ", line);
    std::string name = top.substr(line, colon - line);
    std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
    reply.headers[name] = top.substr(colon + 2, end - colon - 2);
    line = end + 2;
  }
  const int status = std::stoi(top.substr(9, 3));
  if (head || status == 204 || status == 100) {
  } else if (reply.headers.contains("content-length")) {
    const size_t length = std::stoul(reply.headers["content-length"]);
    while (input_.size() < length) {
      if (!More()) return reply;
    }
    reply.body = input_.substr(0, length);
    input_.erase(0, length);
  } else if (reply.headers.contains("transfer-encoding")) {
    for (;;) {
      const std::string size = ReadUntil("\r\n");
      if (!size.ends_with("\r\n")) return reply;
      const size_t length = std::stoul(size, nullptr, 16);
      while (input_.size() < length + 2) {
        if (!More()) return reply;
      }
      reply.body += input_.substr(0, length);
      EXPECT_EQ(input_.substr(length, 2), "\r\n");
      input_.erase(0, length + 2);
      if (length == 0) break;
    }
  } else {
    while (More()) {
    }
    reply.body = std::exchange(input_, {});
  }
  reply.status = status;
  return reply;
}

std::string Get(std::string_view path, std::string_view headers) {
  return fmt::format("GET {} HTTP/1.1\r\nHost: test\r\n{}\r\n", path, headers);
}

std::string Post(std::string_view path, std::string_view body, std::string_view headers) {
  return fmt::format(
      "POST {} HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\nContent-Length: {}\r\n{}\r\n{}", path,
      body.size(), headers, body);
}

namespace {

ServerOptions Local(ServerOptions options) {
  options.port = 0;
  options.handle_signals = false;
  return options;
}

}  // namespace

TestServer::TestServer(ServerOptions options, bool ready, bool with_template)
    : text(TestText(with_template)), server(Local(std::move(options))) {
  if (ready) server.SetReady(text, engine);
}

HttpReply TestServer::Ask(const std::string& request) {
  Client client(server.port());
  EXPECT_TRUE(client.Send(request));
  return client.Read();
}

HttpReply TestServer::Complete(const std::string& body) { return Ask(Post("/v1/completions", body)); }
HttpReply TestServer::Chat(const std::string& body) { return Ask(Post("/v1/chat/completions", body)); }

}  // namespace gannet::server_testing
