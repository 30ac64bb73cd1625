// Loading, clients that go away or do not read, draining.
#include <gtest/gtest.h>

#include <csignal>
#include <thread>

#include "server/testing/test_server.h"

namespace gannet::server_testing {
namespace {

using Clock = std::chrono::steady_clock;

constexpr char kEndless[] = R"({"prompt":"a","ignore_eos":true,"max_tokens":4000})";
constexpr char kEndlessStream[] = R"({"prompt":"a","ignore_eos":true,"max_tokens":4000,"stream":true})";

TEST(Lifecycle, LoadingIs503ThenReady) {
  TestServer test({}, /*ready=*/false);
  EXPECT_EQ(test.Ask(Get("/health")).status, 503);
  EXPECT_EQ(test.Ask(Get("/health")).body, R"({"status":"loading"})");
  const HttpReply early = test.Complete(R"({"prompt":"a"})");
  EXPECT_EQ(early.status, 503);
  EXPECT_EQ(early.headers.at("retry-after"), "5");
  EXPECT_EQ(*early.json().Find("error")->Find("code"), Json("loading"));
  EXPECT_EQ(test.Ask(Get("/v1/models")).status, 503);
  test.server.SetReady(test.text, test.engine);
  EXPECT_EQ(test.Ask(Get("/health")).status, 200);
  EXPECT_EQ(test.Complete(R"({"prompt":"a"})").status, 200);
}

TEST(Lifecycle, ADrainWhileLoading) {
  TestServer test({}, /*ready=*/false);
  test.server.BeginDrain();
  EXPECT_TRUE(test.server.Run());
}

TEST(Lifecycle, AClientThatLeavesCancelsItsRequest) {
  TestServer test;
  for (const std::string body : {kEndless, kEndlessStream}) {
    for (const bool half : {false, true}) {
      test.engine.Hold(true);  // the cancellation must not wait for a token
      Client client(test.server.port());
      client.Send(Post("/v1/completions", body));
      ASSERT_TRUE(Soon([&] { return test.engine.running() == 1; }));
      half ? client.HalfClose() : client.Close();
      EXPECT_TRUE(test.engine.WaitUntilIdle()) << body << half;
      test.engine.Hold(false);
    }
  }
  EXPECT_EQ(test.engine.cancelled(), 4);
}

TEST(Lifecycle, AClientThatLeavesInTheMiddleOfAStream) {
  TestServer test;
  test.engine.context = 1 << 30;  // a context that ends before a slow client leaves would finish its requests
  Client client(test.server.port());
  client.Send(Post("/v1/chat/completions",
                   R"({"messages":[{"role":"user","content":"a"}],"ignore_eos":true,"stream":true,"n":3})"));
  for (int i = 0; i < 10; ++i) client.ReadUntil("data: ");
  client.Close();
  EXPECT_TRUE(test.engine.WaitUntilIdle());
  EXPECT_EQ(test.engine.cancelled(), 3);
}

TEST(Lifecycle, AReaderThatDoesNotReadIsCutOff) {
  TestServer test({.max_unsent_bytes = 20000});
  test.engine.context = 1 << 30;
  test.engine.step = std::chrono::microseconds(1);
  Client client(test.server.port(), /*receive_buffer=*/4096);
  client.Send(
      Post("/v1/completions", R"({"prompt":"a","n":64,"ignore_eos":true,"max_tokens":100000000,"stream":true})"));
  ASSERT_TRUE(Soon([&] { return test.engine.cancelled() > 0 && test.engine.running() == 0; }));
  const HttpReply reply = client.Read();
  const Json last = Json::Parse(reply.events().back()).value();
  ASSERT_NE(last.Find("error"), nullptr);
  EXPECT_EQ(*last.Find("error")->Find("code"), Json("slow_client"));
}

TEST(Lifecycle, AReaderThatNeverReadsIsClosed) {
  TestServer test({.max_unsent_bytes = 20000, .write_timeout_s = 0.2});
  test.engine.context = 1 << 30;
  test.engine.step = std::chrono::microseconds(1);
  Client client(test.server.port(), /*receive_buffer=*/4096);
  client.Send(
      Post("/v1/completions", R"({"prompt":"a","n":64,"ignore_eos":true,"max_tokens":100000000,"stream":true})"));
  ASSERT_TRUE(Soon([&] { return test.engine.cancelled() > 0 && test.engine.running() == 0; }));
  const Clock::time_point begin = Clock::now();
  test.server.BeginDrain();  // which waits for the connection and nothing else
  EXPECT_TRUE(test.server.Run());
  EXPECT_LT(Clock::now() - begin, std::chrono::seconds(15));
}

TEST(Lifecycle, HeartbeatsWhileNothingIsSaid) {
  TestServer test({.heartbeat_s = 0.02});
  test.engine.Hold(true);
  Client client(test.server.port());
  client.Send(Post("/v1/completions", kEndlessStream));
  EXPECT_TRUE(client.ReadUntil(": working\n\n").ends_with(": working\n\n"));
}

TEST(Lifecycle, DrainFinishesWhatWasAccepted) {
  TestServer test;
  test.engine.Hold(true);
  Client running(test.server.port()), idle(test.server.port());
  idle.Send(Get("/health"));
  EXPECT_EQ(idle.Read().status, 200);
  running.Send(Post("/v1/completions", R"({"prompt":"a"})"));
  ASSERT_TRUE(Soon([&] { return test.engine.running() == 1; }));
  test.server.BeginDrain();
  EXPECT_TRUE(idle.AtEnd());
  const HttpReply health = test.Ask(Get("/health"));
  EXPECT_EQ(health.status, 503);
  EXPECT_EQ(*health.json().Find("status"), Json("draining"));
  const HttpReply late = test.Complete(R"({"prompt":"a"})");
  EXPECT_EQ(late.status, 503);
  EXPECT_EQ(*late.json().Find("error")->Find("message"),
            Json("The server is shutting down and takes no new requests."));
  test.engine.Hold(false);
  const HttpReply reply = running.Read();
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(*reply.json().Find("choices")->as_array()[0].Find("text"), Json("Hello, world"));
  EXPECT_EQ(reply.headers.at("connection"), "close");
  EXPECT_TRUE(test.server.Run());
}

TEST(Lifecycle, DrainIsBounded) {
  TestServer test({.drain_timeout_s = 0.1});
  test.engine.Hold(true);
  Client client(test.server.port());
  client.Send(Post("/v1/completions", kEndless));
  ASSERT_TRUE(Soon([&] { return test.engine.running() == 1; }));
  const Clock::time_point begin = Clock::now();
  test.server.BeginDrain();
  EXPECT_FALSE(test.server.Run());
  EXPECT_LT(Clock::now() - begin, std::chrono::seconds(2));
  EXPECT_TRUE(test.engine.WaitUntilIdle());
}

TEST(Lifecycle, SigtermDrainsAndASecondOneHurries) {
  FakeEngine engine;
  ServerOptions options{.port = 0, .drain_timeout_s = 60};
  Server server(options);
  server.SetReady(TestText(), engine);
  engine.Hold(true);
  Client client(server.port());
  client.Send(Post("/v1/completions", kEndless));
  ASSERT_TRUE(Soon([&] { return engine.running() == 1; }));
  ::kill(::getpid(), SIGTERM);
  ASSERT_TRUE(Soon([&] {
    Client probe(server.port());
    probe.Send(Get("/health"));
    return probe.Read().status == 503;
  }));
  EXPECT_EQ(engine.running(), 1);
  ::kill(::getpid(), SIGINT);
  EXPECT_FALSE(server.Run());
}

TEST(Lifecycle, TheServerMayEndBeforeItsRequests) {
  FakeEngine engine;
  for (int i = 0; i < 5; ++i) {
    engine.step = std::chrono::microseconds(50);
    auto server = std::make_unique<Server>(ServerOptions{.port = 0, .handle_signals = false});
    server->SetReady(TestText(), engine);
    Client client(server->port());
    client.Send(Post("/v1/completions", R"({"prompt":"a","n":20,"ignore_eos":true,"max_tokens":4000,"stream":true})"));
    client.ReadUntil("data: ");
    server.reset();
    EXPECT_TRUE(engine.WaitUntilIdle());
  }
}

// Many clients at once, on two threads of the server; a third of them leaves early.
TEST(Lifecycle, ManyClients) {
  TestServer test({.io_threads = 2});
  test.engine.answer = [](const Request& request) {
    return Bytes(std::string(request.prompt.size() * 10, static_cast<char>(request.prompt[0])));
  };
  std::atomic<int> right{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 16; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 6; ++i) {
        const std::string prompt(static_cast<size_t>(1 + (t + i) % 5), static_cast<char>('a' + t));
        const bool stream = i % 2 == 0;
        Client client(test.server.port());
        client.Send(Post("/v1/completions", R"({"prompt":")" + prompt + R"(","max_tokens":100,"stream":)" +
                                                (stream ? "true}" : "false}")));
        if (i % 3 == 2) continue;
        const HttpReply reply = client.Read();
        std::string text;
        if (stream) {
          for (const std::string& event : reply.events()) {
            if (event == "[DONE]") continue;
            text += Json::Parse(event)->Find("choices")->as_array()[0].Find("text")->as_string();
          }
        } else {
          text = reply.json().Find("choices")->as_array()[0].Find("text")->as_string();
        }
        right += text == std::string(prompt.size() * 10, prompt[0]);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(right, 16 * 4);
  EXPECT_TRUE(test.engine.WaitUntilIdle());
}

}  // namespace
}  // namespace gannet::server_testing
