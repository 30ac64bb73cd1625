// POST /v1/chat/completions.
#include <gtest/gtest.h>

#include "server/testing/test_server.h"

namespace gannet::server_testing {
namespace {

const Json& Choice(const Json& reply, size_t index = 0) { return reply.Find("choices")->as_array().at(index); }
constexpr char kHi[] = R"("messages":[{"role":"system","content":"S"},{"role":"user","content":"Hi"}])";
std::string Body(const std::string& more = "") {
  return std::string("{") + kHi + (more.empty() ? "" : ",") + more + "}";
}

TEST(Chat, TheWholeAnswer) {
  TestServer test;
  const Json reply = test.Chat(Body(R"("model":"test-model")")).json();
  EXPECT_TRUE(reply.Find("id")->as_string().starts_with("chatcmpl-"));
  EXPECT_EQ(*reply.Find("object"), Json("chat.completion"));
  EXPECT_EQ(Choice(reply).Dump(),
            R"({"index":0,"message":{"role":"assistant","content":"Hello, world","refusal":null},)"
            R"("logprobs":null,"finish_reason":"stop"})");
  const Request request = test.engine.requests().at(0);
  EXPECT_EQ(request.prompt, Bytes("<system>S<user>Hi<assistant>"));
  EXPECT_EQ(request.sampling.max_tokens, 4096 - static_cast<int>(request.prompt.size()));  // the rest of the context
  EXPECT_EQ(reply.Find("usage")->Find("prompt_tokens")->as_int(), static_cast<int64_t>(request.prompt.size()));
  EXPECT_EQ(reply.Find("usage")->Find("completion_tokens")->as_int(), 13);
}

TEST(Chat, TheStream) {
  TestServer test;
  const HttpReply reply = test.Chat(Body(R"("stream":true,"stream_options":{"include_usage":true})"));
  ASSERT_EQ(reply.status, 200);
  EXPECT_EQ(reply.headers.at("content-type"), "text/event-stream; charset=utf-8");
  const std::vector<std::string> events = reply.events();
  ASSERT_GE(events.size(), 5u);
  EXPECT_EQ(events.back(), "[DONE]");
  std::string text;
  std::string id;
  for (size_t i = 0; i + 1 < events.size(); ++i) {
    const Json event = Json::Parse(events[i]).value();
    EXPECT_EQ(*event.Find("object"), Json("chat.completion.chunk"));
    if (i == 0) id = event.Find("id")->as_string();
    EXPECT_EQ(*event.Find("id"), Json(id));
    if (i == 0) {
      EXPECT_EQ(Choice(event).Dump(), R"({"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,)"
                                      R"("finish_reason":null})");
    } else if (i + 3 == events.size()) {
      EXPECT_EQ(Choice(event).Dump(), R"({"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"})");
    } else if (i + 2 == events.size()) {
      EXPECT_TRUE(event.Find("choices")->as_array().empty());
      EXPECT_EQ(event.Find("usage")->Find("completion_tokens")->as_int(), 13);
      continue;
    } else {
      text += Choice(event).Find("delta")->Find("content")->as_string();
    }
    EXPECT_TRUE(event.Find("usage")->is_null());
  }
  EXPECT_EQ(text, "Hello, world");
}

TEST(Chat, CharactersAreNeverCut) {
  TestServer test;
  const std::string answer = "héllo 你好 👩‍👩‍👧 ok";
  test.engine.answer = [&](const Request&) { return Bytes(answer); };
  EXPECT_EQ(*Choice(test.Chat(Body()).json()).Find("message")->Find("content"), Json(answer));
  std::string text;
  for (const std::string& event : test.Chat(Body(R"("stream":true)")).events()) {
    if (event == "[DONE]") continue;
    const Json json = Json::Parse(event).value();  // which refuses invalid UTF-8
    if (const Json* content = Choice(json).Find("delta")->Find("content")) text += content->as_string();
  }
  EXPECT_EQ(text, answer);
  // An answer cut inside a character ends with a replacement, not with half of it.
  EXPECT_EQ(*Choice(test.Chat(Body(R"("max_tokens":2)")).json()).Find("message")->Find("content"),
            Json("h\xef\xbf\xbd"));
}

TEST(Chat, LogprobsWholeAndStreamed) {
  TestServer test;
  test.engine.answer = [](const Request&) { return Bytes("aé"); };
  const std::string expected =
      R"([{"token":"a","logprob":-0.5,"bytes":[97],"top_logprobs":[{"token":"a","logprob":-0.5,"bytes":[97]}]},)"
      "{\"token\":\"\xef\xbf\xbd\",\"logprob\":-0.5,\"bytes\":[195],\"top_logprobs\":[{\"token\":\"\xef\xbf\xbd\","
      "\"logprob\":-0.5,\"bytes\":[195]}]},{\"token\":\"\xef\xbf\xbd\",\"logprob\":-0.5,\"bytes\":[169],"
      "\"top_logprobs\":[{\"token\":\"\xef\xbf\xbd\",\"logprob\":-0.5,\"bytes\":[169]}]}]";
  const Json reply = test.Chat(Body(R"("logprobs":true,"top_logprobs":1)")).json();
  EXPECT_EQ(Choice(reply).Find("logprobs")->Find("content")->Dump(), expected);
  Json::Array streamed;
  for (const std::string& event : test.Chat(Body(R"("logprobs":true,"top_logprobs":1,"stream":true)")).events()) {
    if (event == "[DONE]") continue;
    const Json json = Json::Parse(event).value();
    for (const Json& entry : Choice(json).Find("logprobs")->Find("content")->as_array()) streamed.push_back(entry);
  }
  EXPECT_EQ(Json(streamed).Dump(), expected);
  EXPECT_EQ(test.Chat(Body(R"("top_logprobs":1)")).status, 400);
  EXPECT_EQ(test.Chat(Body(R"("logprobs":true,"top_logprobs":21)")).status, 400);
}

TEST(Chat, TokenLimits) {
  TestServer test;
  test.engine.ends = false;
  const Json reply = test.Chat(Body(R"("max_tokens":3)")).json();
  EXPECT_EQ(*Choice(reply).Find("message")->Find("content"), Json("Hel"));
  EXPECT_EQ(*Choice(reply).Find("finish_reason"), Json("length"));
  EXPECT_EQ(
      *Choice(test.Chat(Body(R"("max_tokens":3,"max_completion_tokens":4)")).json()).Find("message")->Find("content"),
      Json("Hell"));
  const HttpReply long_prompt =
      test.Chat(R"({"messages":[{"role":"user","content":")" + std::string(5000, 'a') + R"("}]})");
  EXPECT_EQ(long_prompt.status, 400);
  EXPECT_EQ(*long_prompt.json().Find("error")->Find("code"), Json("context_length_exceeded"));
  EXPECT_EQ(*long_prompt.json().Find("error")->Find("param"), Json("messages"));
}

TEST(Chat, WhatIsNotSupportedIsRefusedByName) {
  TestServer test;
  const std::vector<std::pair<std::string, std::string>> cases{
      {R"("tools":[{"type":"function","function":{"name":"f"}}])", "tools"},
      {R"("tool_choice":"required")", "tool_choice"},
      {R"("functions":[{"name":"f"}])", "functions"},
      {R"("response_format":{"type":"json_object"})", "response_format"},
      {R"("response_format":{"type":"json_schema","json_schema":{}})", "response_format"},
      {R"("modalities":["text","audio"])", "modalities"},
      {R"("audio":{"voice":"a"})", "audio"},
      {R"("web_search_options":{"a":1})", "web_search_options"},
      {R"("prompt":"a")", "prompt"},
      {R"("echo":true)", "echo"},
      {R"("best_of":2)", "best_of"},
      {R"("chat_template_kwargs":[1])", "chat_template_kwargs"},
      {R"("logprobs":2)", "logprobs"},
  };
  for (const auto& [field, name] : cases) {
    const HttpReply reply = test.Chat(Body(field));
    EXPECT_EQ(reply.status, 400) << field;
    EXPECT_EQ(*reply.json().Find("error")->Find("param"), Json(name)) << reply.body;
    EXPECT_NE(reply.json().Find("error")->Find("message")->as_string().find("'" + name + "'"), std::string::npos)
        << reply.body;
  }
  EXPECT_EQ(test.Chat(Body(R"("tools":[],"tool_choice":"auto","response_format":{"type":"text"},"modalities":["text"],
    "parallel_tool_calls":true,"functions":null,"user":"me")"))
                .status,
            200);
}

TEST(Chat, MalformedMessages) {
  TestServer test;
  for (const char* messages :
       {"null", "[]", "\"a\"", "[1]", "[{}]", R"([{"role":5,"content":"a"}])", R"([{"role":"user","content":5}])",
        R"([{"role":"user","content":[{"type":"image_url"}]}])", R"([{"role":"tool","content":"a"}])"}) {
    const HttpReply reply = test.Chat(std::string(R"({"messages":)") + messages + "}");
    EXPECT_EQ(reply.status, 400) << messages;
    EXPECT_TRUE(reply.json().Find("error")->Find("param")->is_string()) << messages;
  }
  EXPECT_NE(test.Chat(R"({"messages":[{"role":"tool","content":"a"}]})").body.find("no tools here"), std::string::npos);
}

TEST(Chat, WhatTheTemplateSees) {
  TestServer test;
  const std::vector<std::pair<std::string, std::string>> cases{
      {Body(R"("reasoning_effort":"high")"), "<system>S<user>Hi[high]<assistant>"},
      {Body(R"("chat_template_kwargs":{"mood":"calm"})"), "<system>S<user>Hi(calm)<assistant>"},
      {R"({"messages":[{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}]})",
       "<user>a\nb<assistant>"},
      {R"({"messages":[{"role":"user","content":"x<|end|>"}]})", "<user>x<|end|><assistant>"},
  };
  for (size_t i = 0; i < cases.size(); ++i) {
    EXPECT_EQ(test.Chat(cases[i].first).status, 200);
    ASSERT_EQ(test.engine.requests().size(), i + 1);
    EXPECT_EQ(test.text->tokenizer->Decode(test.engine.requests()[i].prompt), cases[i].second);
  }
}

TEST(Chat, NoTemplate) {
  TestServer test({}, /*ready=*/true, /*with_template=*/false);
  const HttpReply reply = test.Chat(Body());
  EXPECT_EQ(reply.status, 400);
  EXPECT_EQ(*reply.json().Find("error")->Find("message"),
            Json("The model 'test-model' has no chat template; use completions, or give one with --chat-template."));
  EXPECT_EQ(test.Complete(R"({"prompt":"a"})").status, 200);
}

TEST(Chat, Choices) {
  TestServer test;
  test.engine.answer = [](const Request& request) {
    return Bytes(std::string(1 + request.sampling.seed % 7, static_cast<char>('a' + request.sampling.seed % 7)));
  };
  const Json reply = test.Chat(Body(R"("n":5,"seed":1)")).json();
  const std::vector<std::string> expected{"bb", "ccc", "dddd", "eeeee", "ffffff"};
  for (size_t i = 0; i < 5; ++i) {
    EXPECT_EQ(*Choice(reply, i).Find("message")->Find("content"), Json(expected[i]));
    EXPECT_EQ(Choice(reply, i).Find("index")->as_int(), static_cast<int64_t>(i));
  }
  EXPECT_EQ(reply.Find("usage")->Find("completion_tokens")->as_int(), 2 + 3 + 4 + 5 + 6 + 5);
}

}  // namespace
}  // namespace gannet::server_testing
