// HTTP itself: methods, paths, limits, clocks, connections.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <random>

#include "server/http_message.h"
#include "server/testing/test_server.h"

namespace gannet::server_testing {
namespace {

std::string ErrorOf(const HttpReply& reply, const char* member = "message") {
  const Json json = reply.json();
  const Json* error = json.Find("error");
  if (error == nullptr || error->Find(member) == nullptr) return "(no error in " + reply.body + ")";
  return error->Find(member)->is_string() ? error->Find(member)->as_string() : error->Find(member)->Dump();
}

constexpr char kHello[] = R"({"prompt":"Hi","max_tokens":5})";

TEST(Http, HealthSaysWhatRuns) {
  TestServer test;
  const HttpReply reply = test.Ask(Get("/health"));
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(reply.body, R"({"status":"ok","running":0,"waiting":0,"blocks_total":64,"blocks_free":64})");
  EXPECT_EQ(reply.headers.at("content-type"), "application/json");
}

TEST(Http, Models) {
  TestServer test;
  const Json list = test.Ask(Get("/v1/models")).json();
  EXPECT_EQ(*list.Find("object"), Json("list"));
  EXPECT_EQ(*list.Find("data")->as_array()[0].Find("id"), Json("test-model"));
  EXPECT_EQ(test.Ask(Get("/v1/models/test-model?x=1")).status, 200);
  EXPECT_EQ(test.Ask(Get("/v1/models/test%2Dmodel")).status, 200);
  const HttpReply missing = test.Ask(Get("/v1/models/gpt-4"));
  EXPECT_EQ(missing.status, 404);
  EXPECT_EQ(ErrorOf(missing), "The model 'gpt-4' does not exist here; this server has 'test-model'.");
  EXPECT_EQ(ErrorOf(missing, "code"), "model_not_found");
  EXPECT_EQ(test.Ask(Get("/v1/models/")).status, 404);
}

TEST(Http, ServedModelName) {
  TestServer test({.model_name = "my/model"});
  EXPECT_EQ(test.Ask(Get("/v1/models/my/model")).status, 200);
  EXPECT_EQ(test.Complete(R"({"prompt":"Hi","model":"my/model"})").status, 200);
  EXPECT_EQ(test.Complete(R"({"prompt":"Hi","model":"test-model"})").status, 404);
}

TEST(Http, PathsAndMethods) {
  TestServer test;
  const HttpReply unknown = test.Ask(Get("/v2/nothing"));
  EXPECT_EQ(unknown.status, 404);
  EXPECT_EQ(ErrorOf(unknown), "There is nothing at '/v2/nothing'.");
  EXPECT_EQ(ErrorOf(unknown, "type"), "invalid_request_error");
  EXPECT_EQ(ErrorOf(unknown, "param"), "null");
  const HttpReply wrong = test.Ask(Get("/v1/completions"));
  EXPECT_EQ(wrong.status, 405);
  EXPECT_EQ(wrong.headers.at("allow"), "POST, OPTIONS");
  EXPECT_EQ(ErrorOf(wrong), "'/v1/completions' does not answer GET, only POST, OPTIONS.");
  EXPECT_EQ(test.Ask(Post("/health", "{}")).status, 405);
  EXPECT_EQ(test.Ask("OST /health HTTP/1.1\r\nHost: t\r\n\r\n").status, 405);
  const HttpReply options = test.Ask("OPTIONS /health HTTP/1.1\r\nHost: t\r\n\r\n");
  EXPECT_EQ(options.status, 204);
  EXPECT_EQ(options.headers.at("allow"), "GET, HEAD, OPTIONS");
  EXPECT_FALSE(options.headers.contains("access-control-allow-origin"));
}

TEST(Http, HeadHasNoBody) {
  TestServer test;
  Client client(test.server.port());
  client.Send("HEAD /health HTTP/1.1\r\nHost: t\r\n\r\n" + Get("/health"));
  const HttpReply head = client.Read(/*head=*/true);
  EXPECT_EQ(head.status, 200);
  EXPECT_EQ(client.Read().body.size(), std::stoul(head.headers.at("content-length")));
}

TEST(Http, PipelinedRequestsAreAnsweredInOrder) {
  TestServer test;
  Client client(test.server.port());
  client.Send(Post("/v1/completions", kHello) + Get("/health") + Get("/nothing") + Post("/v1/completions", kHello));
  EXPECT_EQ(client.Read().json().Find("object")->as_string(), "text_completion");
  EXPECT_EQ(*client.Read().json().Find("status"), Json("ok"));
  EXPECT_EQ(client.Read().status, 404);
  EXPECT_EQ(client.Read().status, 200);
}

TEST(Http, PipeliningDuringAStream) {
  TestServer test;
  Client client(test.server.port());
  const std::string stream = R"({"prompt":"Hi","max_tokens":200,"ignore_eos":true,"stream":true})";
  client.Send(Post("/v1/completions", stream) + Post("/v1/completions", stream));
  std::string more;
  for (int i = 0; i < 100; ++i) more += Get("/health");
  client.Send(more);
  EXPECT_EQ(client.Read().events().back(), "[DONE]");
  EXPECT_EQ(client.Read().events().size(), 202u);
  for (int i = 0; i < 100; ++i) ASSERT_EQ(client.Read().status, 200);
}

TEST(Http, ByteAfterByte) {
  TestServer test;
  Client client(test.server.port());
  for (const char c : Post("/v1/completions", kHello)) ASSERT_TRUE(client.Send({&c, 1}));
  EXPECT_EQ(client.Read().status, 200);
}

TEST(Http, ChunkedRequestBody) {
  TestServer test;
  const HttpReply reply = test.Ask(
      "POST /v1/completions HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n"
      "9\r\n{\"prompt\"\r\n6\r\n:\"Hi\"}\r\n0\r\n\r\n");
  EXPECT_EQ(reply.status, 200) << reply.body;
}

TEST(Http, Http10ClosesAndIsNotChunked) {
  TestServer test;
  const std::string body = R"({"prompt":"Hi","stream":true})";
  Client client(test.server.port());
  client.Send(fmt::format("POST /v1/completions HTTP/1.0\r\nContent-Length: {}\r\n\r\n{}", body.size(), body));
  const HttpReply reply = client.Read();
  EXPECT_EQ(reply.headers.at("connection"), "close");
  EXPECT_FALSE(reply.headers.contains("transfer-encoding"));
  EXPECT_EQ(reply.events().back(), "[DONE]");
}

TEST(Http, ConnectionClose) {
  TestServer test;
  Client client(test.server.port());
  client.Send(Get("/health", "Connection: close\r\n"));
  EXPECT_EQ(client.Read().headers.at("connection"), "close");
  EXPECT_TRUE(client.AtEnd());
}

TEST(Http, ExpectContinue) {
  TestServer test;
  Client client(test.server.port());
  const std::string request = Post("/v1/completions", kHello, "Expect: 100-continue\r\n");
  const size_t head = request.find("\r\n\r\n") + 4;
  client.Send(request.substr(0, head));
  EXPECT_EQ(client.Read().status, 100);
  client.Send(request.substr(head));
  EXPECT_EQ(client.Read().status, 200);
  EXPECT_EQ(test.Ask(Post("/v1/completions", kHello, "Expect: the-worst\r\n")).status, 417);
}

TEST(Http, TooLargeBodies) {
  TestServer test({.max_body_bytes = 1000});
  const HttpReply declared = test.Ask(Post("/v1/completions", std::string(1001, ' ')));
  EXPECT_EQ(declared.status, 413);
  EXPECT_EQ(ErrorOf(declared), "The body is larger than the 1000 bytes this server accepts.");
  EXPECT_EQ(test.Ask("POST /v1/completions HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\nfff\r\n" +
                     std::string(0xfff, ' ') + "\r\n0\r\n\r\n")
                .status,
            413);
  EXPECT_EQ(
      test.Ask("POST /v1/completions HTTP/1.1\r\nHost: t\r\nContent-Length: 99999999999999999999999\r\n\r\n").status,
      400);
  EXPECT_EQ(test.Ask(Get("/health", "X: " + std::string(40000, 'x') + "\r\n")).status, 431);
  EXPECT_EQ(test.Ask(Post("/v1/completions", kHello)).status, 200);
}

TEST(Http, TheSumOfBodiesIsBounded) {
  TestServer test({.max_total_body_bytes = 3000});
  Client first(test.server.port());
  first.Send("POST /v1/completions HTTP/1.1\r\nHost: t\r\nContent-Length: 2500\r\n\r\n" + std::string(2000, ' '));
  while (true) {  // until the server has read the first one
    const HttpReply second = test.Complete(kHello + std::string(1500, ' '));
    if (second.status == 503) break;
    ASSERT_EQ(second.status, 200);
  }
  first.Send(std::string(500, ' '));
  EXPECT_EQ(first.Read().status, 400);
  EXPECT_EQ(test.Complete(kHello + std::string(1500, ' ')).status, 200);
}

TEST(Http, SlowClientsAreLetGo) {
  TestServer test({.header_timeout_s = 0.15, .body_timeout_s = 0.15, .idle_timeout_s = 0.15});
  Client silent(test.server.port()), header(test.server.port()), body(test.server.port()), idle(test.server.port());
  header.Send("GET /health HTTP/1.1\r\nHos");
  body.Send("POST /v1/completions HTTP/1.1\r\nHost: t\r\nContent-Length: 10\r\n\r\n{");
  idle.Send(Get("/health"));
  EXPECT_EQ(idle.Read().status, 200);
  const HttpReply slow_header = header.Read();
  EXPECT_EQ(slow_header.status, 408);
  EXPECT_EQ(ErrorOf(slow_header), "The request's header did not arrive in time.");
  const HttpReply slow_body = body.Read();
  EXPECT_EQ(slow_body.status, 408);
  EXPECT_EQ(ErrorOf(slow_body), "The request's body did not arrive in time.");
  EXPECT_TRUE(idle.AtEnd());
  EXPECT_TRUE(silent.AtEnd());
}

TEST(Http, ADripOfHeaderBytesDoesNotExtendTheTime) {
  TestServer test({.header_timeout_s = 0.2});
  Client client(test.server.port());
  const auto begin = std::chrono::steady_clock::now();
  while (client.Send("x") && std::chrono::steady_clock::now() - begin < std::chrono::seconds(4)) usleep(20000);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(4));
}

TEST(Http, TooManyConnections) {
  TestServer test({.max_connections = 2});
  Client first(test.server.port()), second(test.server.port());
  first.Send(Get("/health"));
  second.Send(Get("/health"));
  EXPECT_EQ(first.Read().status, 200);
  EXPECT_EQ(second.Read().status, 200);
  Client third(test.server.port());
  EXPECT_EQ(third.Read().status, 503);
}

TEST(Http, ApiKeys) {
  const std::filesystem::path file = std::filesystem::temp_directory_path() / fmt::format("gannet_keys_{}", getpid());
  std::ofstream(file) << "first-key\n\nsecond-key\r\n";
  TestServer test({.api_key_file = file});
  const HttpReply none = test.Complete(kHello);
  EXPECT_EQ(none.status, 401);
  EXPECT_EQ(none.headers.at("www-authenticate"), "Bearer");
  EXPECT_EQ(ErrorOf(none, "code"), "invalid_api_key");
  EXPECT_EQ(test.Ask(Post("/v1/completions", kHello, "Authorization: Bearer wrong\r\n")).status, 401);
  EXPECT_EQ(test.Ask(Post("/v1/completions", kHello, "Authorization: Bearer \r\n")).status, 401);
  EXPECT_EQ(test.Ask(Post("/v1/completions", kHello, "Authorization: Bearer first-key\r\n")).status, 200);
  EXPECT_EQ(test.Ask(Get("/v1/models", "Authorization: Bearer second-key\r\n")).status, 200);
  EXPECT_EQ(test.Ask(Get("/health")).status, 200);
  std::ofstream(file) << "\n\n";
  EXPECT_THROW(TestServer({.api_key_file = file}), LoadError);
  std::filesystem::remove(file);
  EXPECT_THROW(TestServer({.api_key_file = file}), LoadError);
}

TEST(Http, AnAddressThatCannotBeListenedOn) {
  ServerOptions options{.port = 0, .handle_signals = false};
  options.host = "203.0.113.1";
  try {
    Server server(options);
    FAIL();
  } catch (const LoadError& error) {
    EXPECT_TRUE(std::string(error.what()).starts_with("server: cannot listen on 203.0.113.1 port 0: ")) << error.what();
  }
}

// Random damage to requests: an answer with a status or a closed connection, and the server lives.
TEST(Http, Garbage) {
  TestServer test({.header_timeout_s = 0.05, .body_timeout_s = 0.05, .idle_timeout_s = 0.05});
  std::mt19937 random(7);
  const std::string good = Post("/v1/completions", kHello) + Get("/health");
  for (int i = 0; i < 150; ++i) {
    std::string bad = good;
    for (int k = 0; k < 1 + i % 6; ++k) {
      if (bad.empty()) bad = good;
      const size_t at = random() % bad.size();
      switch (random() % 4) {
        case 0:
          bad[at] = static_cast<char>(random());
          break;
        case 1:
          bad.erase(at, random() % 20);
          break;
        case 2:
          bad.insert(at, bad.substr(random() % bad.size(), random() % 40));
          break;
        default:
          bad.resize(std::max<size_t>(1, at));
      }
    }
    Client client(test.server.port());
    client.Send(bad);
    client.HalfClose();
    while (client.Read().status != 0) {
    }
    ASSERT_TRUE(client.AtEnd()) << bad;
  }
  EXPECT_EQ(test.Ask(Get("/health")).status, 200);
  EXPECT_TRUE(test.engine.WaitUntilIdle());
}

TEST(Http, PercentDecode) {
  EXPECT_EQ(PercentDecode("/a%2Fb%20c"), "/a/b c");
  EXPECT_EQ(PercentDecode("%"), "%");
  EXPECT_EQ(PercentDecode("%4"), "%4");
  EXPECT_EQ(PercentDecode("%zz%41"), "%zzA");
}

}  // namespace
}  // namespace gannet::server_testing
