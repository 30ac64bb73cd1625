// POST /v1/completions.
#include <gtest/gtest.h>

#include "server/testing/test_server.h"

namespace gannet::server_testing {
namespace {

const Json& Choice(const Json& reply, size_t index = 0) { return reply.Find("choices")->as_array().at(index); }
std::string Text(const Json& reply, size_t index = 0) { return Choice(reply, index).Find("text")->as_string(); }
std::string Finish(const Json& reply, size_t index = 0) {
  return Choice(reply, index).Find("finish_reason")->as_string();
}

TEST(Completions, TheWholeAnswer) {
  TestServer test;
  test.engine.cached_tokens = 1;
  const Json reply = test.Complete(R"({"model":"test-model","prompt":"Hi"})").json();
  EXPECT_TRUE(reply.Find("id")->as_string().starts_with("cmpl-"));
  EXPECT_EQ(*reply.Find("object"), Json("text_completion"));
  EXPECT_EQ(*reply.Find("model"), Json("test-model"));
  EXPECT_EQ(Choice(reply).Dump(), R"({"index":0,"text":"Hello, world","logprobs":null,"finish_reason":"stop"})");
  EXPECT_EQ(reply.Find("usage")->Dump(), R"({"prompt_tokens":2,"completion_tokens":13,"total_tokens":15,)"
                                         R"("prompt_tokens_details":{"cached_tokens":1}})");
  const Request request = test.engine.requests().at(0);
  EXPECT_EQ(request.prompt, Bytes("Hi"));
  EXPECT_EQ(request.sampling.max_tokens, 16);
  EXPECT_EQ(request.sampling.stop_ids, std::vector<TokenId>{kEndId});
  EXPECT_EQ(request.sampling.temperature, 1);
}

TEST(Completions, EveryFormOfPrompt) {
  TestServer test;
  EXPECT_EQ(test.Complete(R"({"prompt":["Hi","you","é"]})").json().Find("choices")->as_array().size(), 3u);
  EXPECT_EQ(test.Complete(R"({"prompt":[72,105]})").status, 200);
  EXPECT_EQ(test.Complete(R"({"prompt":[[72,105],[33]]})").json().Find("usage")->Find("prompt_tokens")->as_int(), 3);
  EXPECT_EQ(test.Complete(R"({"prompt":"a<|end|>"})").status, 200);
  std::vector<std::vector<TokenId>> prompts;
  for (const Request& request : test.engine.requests()) prompts.push_back(request.prompt);
  const std::vector<std::vector<TokenId>> expected{Bytes("Hi"), Bytes("you"), Bytes("é"),   Bytes("Hi"),
                                                   Bytes("Hi"), Bytes("!"),   {'a', kEndId}};
  EXPECT_EQ(prompts, expected);
}

TEST(Completions, BidirectionalSpans) {
  TestServer test;
  EXPECT_EQ(test.Complete(R"({"prompt":[72,105,33,33],"bidirectional_spans":[[0,2],[3,4]]})").status, 200);
  const std::vector<TokenSpan> spans = test.engine.requests().at(0).bidirectional_spans;
  ASSERT_EQ(spans.size(), 2u);
  EXPECT_EQ(spans[0].begin, 0);
  EXPECT_EQ(spans[0].end, 2);
  EXPECT_EQ(spans[1].begin, 3);
  EXPECT_EQ(test.Complete(R"({"prompt":[72],"bidirectional_spans":[]})").status, 200);
  EXPECT_EQ(test.Complete(R"({"prompt":"a","bidirectional_spans":null})").status, 200);
}

TEST(Completions, Mistakes) {
  TestServer test;
  const std::vector<std::array<std::string, 3>> cases{
      {R"({"prompt":"abc","bidirectional_spans":[[0,2]]})",
       "'bidirectional_spans' needs a 'prompt' of token ids, and one prompt alone.", "bidirectional_spans"},
      {R"({"prompt":[[1],[2]],"bidirectional_spans":[[0,1]]})",
       "'bidirectional_spans' needs a 'prompt' of token ids, and one prompt alone.", "bidirectional_spans"},
      {R"({"prompt":[1,2],"bidirectional_spans":[0,2]})",
       "'bidirectional_spans' must be an array of pairs of token positions: [[first, one past the last], ...].",
       "bidirectional_spans"},
      {R"({"prompt":[1,2],"bidirectional_spans":[[0,"2"]]})",
       "'bidirectional_spans' must be an array of pairs of token positions: [[first, one past the last], ...].",
       "bidirectional_spans"},
      {"", "The body is empty; send a JSON object.", ""},
      {"[1]", "The body must be a JSON object, not array.", ""},
      {R"({})", "'prompt' is missing.", "prompt"},
      {R"({"prompt":""})", "'prompt' is empty; give at least one token.", "prompt"},
      {R"({"prompt":[]})",
       "'prompt' must be a string, an array of strings, an array of token ids, or an array of such arrays.", "prompt"},
      {R"({"prompt":[[]]})", "'prompt' is empty; give at least one token.", "prompt"},
      {R"({"prompt":{"a":1}})",
       "'prompt' must be a string, an array of strings, an array of token ids, or an array of such arrays.", "prompt"},
      {R"({"prompt":["a",true]})",
       "'prompt' must be a string, an array of strings, an array of token ids, or an array of such arrays.", "prompt"},
      {R"({"prompt":[1,"a"]})", "'prompt' has an element that is no token id, at position 1.", "prompt"},
      {R"({"prompt":[1,-1]})", "'prompt' has an element that is no token id, at position 1.", "prompt"},
      {R"({"prompt":[1e30]})", "'prompt' has an element that is no token id, at position 0.", "prompt"},
      {R"({"prompt":[9999]})", "The prompt has an id outside the vocabulary.", "prompt"},
      {R"({"prompt":"a","max_tokens":"5"})", "'max_tokens' must be an integer of at most 64 bits, not string.",
       "max_tokens"},
      {R"({"prompt":"a","max_tokens":0})", "'max_tokens' is 0, but it must be between 1 and 2147483647.", "max_tokens"},
      {R"({"prompt":"a","max_tokens":1.5})", "'max_tokens' must be an integer of at most 64 bits, not number.",
       "max_tokens"},
      {R"({"prompt":"a","temperature":2.5})", "'temperature' is 2.5, but it must be between 0 and 2.", "temperature"},
      {R"({"prompt":"a","temperature":true})", "'temperature' must be a number, not boolean.", "temperature"},
      {R"({"prompt":"a","top_p":0})", "'top_p' is 0, but it must be between 1e-06 and 1.", "top_p"},
      {R"({"prompt":"a","n":0})", "'n' is 0, but it must be between 1 and 128.", "n"},
      {R"({"prompt":"a","seed":1e300})", "'seed' must be an integer of at most 64 bits, not number.", "seed"},
      {R"({"prompt":"a","stream":"yes"})", "'stream' must be true or false, not string.", "stream"},
      {R"({"prompt":"a","stream_options":{"include_usage":true}})",
       "'stream_options' is for requests with 'stream': true.", "stream_options"},
      {R"({"prompt":"a","stream":true,"stream_options":{"include":1}})",
       "In 'stream_options': 'include' is no field that this server knows; leave it out.", "stream_options.include"},
      {R"({"prompt":"a","stop":5})", "'stop' must be a string or an array of strings, not integer.", "stop"},
      {R"({"prompt":"a","stop":[""]})", "'stop' has a string of 0 bytes, but each must have between 1 and 4096.",
       "stop"},
      {R"({"prompt":"a","stop":["1","2","3","4","5","6","7","8","9","a","b","c","d","e","f","g","h"]})",
       "'stop' has 17 strings, but at most 16 are allowed.", "stop"},
      {R"({"prompt":"a","logit_bias":{"x":1}})",
       "'logit_bias' must map token ids, written as strings of digits, to numbers.", "logit_bias"},
      {R"({"prompt":"a","logit_bias":{"5":101}})", "'logit_bias' of token 5 must be a number between -100 and 100.",
       "logit_bias"},
      {R"({"prompt":"a","logprobs":21})", "'logprobs' is 21, but it must be between 0 and 20.", "logprobs"},
      {R"({"prompt":"a","suffix":"b"})", "'suffix' is not supported by this server; leave it out.", "suffix"},
      {R"({"prompt":"a","best_of":3})", "'best_of' other than 'n' is not supported; leave it out.", "best_of"},
      {R"({"prompt":"a","echo":true,"logprobs":1})",
       "'echo' together with 'logprobs' is not supported; leave one of them out.", "echo"},
      {R"({"prompt":"a","min_tokens":20})", "'min_tokens' is 20, more than the 16 tokens that may be generated.",
       "min_tokens"},
      {R"({"prompt":"a","temprature":1})", "'temprature' is no field that this server knows; leave it out.",
       "temprature"},
      {R"({"prompt":["a","b"],"n":128})",
       "2 prompts times n = 128 are more than the 128 completions a request may ask for.", "prompt"},
  };
  for (const auto& [body, message, param] : cases) {
    const HttpReply reply = test.Complete(body);
    EXPECT_EQ(reply.status, 400) << body;
    const Json json = reply.json();
    const Json& error = *json.Find("error");
    EXPECT_EQ(*error.Find("message"), Json(message)) << body;
    EXPECT_EQ(*error.Find("param"), param.empty() ? Json() : Json(param)) << body;
    EXPECT_EQ(*error.Find("type"), Json("invalid_request_error"));
  }
  EXPECT_EQ(test.engine.requests().size(), 0u);
  const HttpReply broken = test.Complete("{\"prompt\": nope}");
  EXPECT_EQ(broken.status, 400);
  EXPECT_NE(broken.body.find("The body is no valid JSON: "), std::string::npos) << broken.body;
  EXPECT_EQ(test.Complete(std::string(100000, '[')).status, 400);
  EXPECT_EQ(test.Complete(R"({"prompt":"a","model":"other"})").status, 404);
}

TEST(Completions, HarmlessFieldsAndNulls) {
  TestServer test;
  EXPECT_EQ(test.Complete(R"({"prompt":"a","user":"me","metadata":{"a":"b"},"store":true,"suffix":null,"suffix":"",
    "best_of":1,"stop":null,"max_tokens":null,"logprobs":null,"stream_options":null,"logit_bias":{}})")
                .status,
            200);
}

TEST(Completions, SamplingReachesTheEngine) {
  TestServer test;
  ASSERT_EQ(test.Complete(R"({"prompt":"a","temperature":0.5,"top_p":0.25,"top_k":7,"min_p":0.125,
    "repetition_penalty":1.5,"frequency_penalty":-0.5,"presence_penalty":0.75,"logit_bias":{"5":-100,"72":2.5},
    "seed":-3,"max_tokens":9,"min_tokens":4,"stop_token_ids":[9,3],"logprobs":2,"priority":-5,"n":2})")
                .status,
            200);
  const std::vector<Request> requests = test.engine.requests();
  ASSERT_EQ(requests.size(), 2u);
  const SamplingParams& sampling = requests[0].sampling;
  EXPECT_EQ(sampling.temperature, 0.5f);
  EXPECT_EQ(sampling.top_p, 0.25f);
  EXPECT_EQ(sampling.top_k, 7);
  EXPECT_EQ(sampling.min_p, 0.125f);
  EXPECT_EQ(sampling.repetition_penalty, 1.5f);
  EXPECT_EQ(sampling.frequency_penalty, -0.5f);
  EXPECT_EQ(sampling.presence_penalty, 0.75f);
  EXPECT_EQ(sampling.logit_bias, (std::vector<std::pair<TokenId, float>>{{5, -100.0f}, {72, 2.5f}}));
  EXPECT_EQ(sampling.seed, static_cast<uint64_t>(-3));
  EXPECT_EQ(requests[1].sampling.seed, static_cast<uint64_t>(-2));
  EXPECT_EQ(sampling.max_tokens, 9);
  EXPECT_EQ(sampling.min_tokens, 4);
  EXPECT_EQ(sampling.stop_ids, (std::vector<TokenId>{3, 9, kEndId}));
  EXPECT_EQ(sampling.top_logprobs, 2);
  EXPECT_EQ(requests[0].priority, -5);
  ASSERT_EQ(test.Complete(R"({"prompt":"a","ignore_eos":true,"top_k":-1})").status, 200);
  EXPECT_TRUE(test.engine.requests()[2].sampling.stop_ids.empty());
  EXPECT_EQ(test.engine.requests()[2].sampling.top_k, 0);
}

TEST(Completions, RandomSeedsDiffer) {
  TestServer test;
  for (int i = 0; i < 2; ++i) ASSERT_EQ(test.Complete(R"({"prompt":"a"})").status, 200);
  EXPECT_NE(test.engine.requests()[0].sampling.seed, test.engine.requests()[1].sampling.seed);
}

TEST(Completions, ContextLength) {
  TestServer test;
  test.engine.context = 20;
  test.engine.ends = false;
  const std::string nineteen(19, 'a');
  const Json fits = test.Complete(R"({"prompt":")" + nineteen + R"("})").json();
  EXPECT_EQ(Text(fits), "H");
  EXPECT_EQ(Finish(fits), "length");
  const HttpReply too_long = test.Complete(R"({"prompt":")" + nineteen + R"(a"})");
  EXPECT_EQ(too_long.status, 400);
  EXPECT_EQ(*too_long.json().Find("error")->Find("code"), Json("context_length_exceeded"));
  EXPECT_EQ(
      *too_long.json().Find("error")->Find("message"),
      Json("The prompt has 20 tokens, but the context of this model holds 20, one of them for the answer; shorten "
           "the prompt."));
  const HttpReply too_much = test.Complete(R"({"prompt":"aaaaaaaaaa","max_tokens":11})");
  EXPECT_EQ(*too_much.json().Find("error")->Find("code"), Json("context_length_exceeded"));
  EXPECT_EQ(*too_much.json().Find("error")->Find("message"),
            Json("The prompt has 10 tokens and 11 are asked for, but the context of this model holds 20; shorten the "
                 "prompt or ask for at most 10."));
  EXPECT_EQ(test.Complete(R"({"prompt":"aaaaaaaaaa","max_tokens":10})").status, 200);
}

TEST(Completions, LargePromptIsReadBesideTheStreams) {
  TestServer test;
  test.engine.context = 10 << 20;
  const std::string prompt(1 << 20, 'a');
  const HttpReply reply = test.Complete(R"({"prompt":")" + prompt + R"("})");
  ASSERT_EQ(reply.status, 200);
  EXPECT_EQ(reply.json().Find("usage")->Find("prompt_tokens")->as_int(), 1 << 20);
}

TEST(Completions, StopStringsAcrossTokens) {
  TestServer test;
  for (const bool stream : {false, true}) {
    const std::string body =
        std::string(R"({"prompt":"a","ignore_eos":true,"max_tokens":4000,"stop":["xyz",", wo"],"stream":)") +
        (stream ? "true}" : "false}");
    const HttpReply reply = test.Complete(body);
    ASSERT_EQ(reply.status, 200);
    if (!stream) {
      EXPECT_EQ(Text(reply.json()), "Hello");
      EXPECT_EQ(Finish(reply.json()), "stop");
      EXPECT_EQ(reply.json().Find("usage")->Find("completion_tokens")->as_int(), 9);
      continue;
    }
    std::string text;
    std::string finish;
    const std::vector<std::string> events = reply.events();
    for (size_t i = 0; i + 1 < events.size(); ++i) {
      const Json event = Json::Parse(events[i]).value();
      text += Text(event);
      if (!Choice(event).Find("finish_reason")->is_null()) finish += Finish(event);
    }
    EXPECT_EQ(text, "Hello");
    EXPECT_EQ(finish, "stop");
    EXPECT_EQ(events.back(), "[DONE]");
  }
  EXPECT_TRUE(test.engine.WaitUntilIdle());
  EXPECT_EQ(test.engine.cancelled(), 2);
  // A stop string that never completes costs nothing of the text.
  EXPECT_EQ(Text(test.Complete(R"({"prompt":"a","stop":"world!"})").json()), "Hello, world");
}

TEST(Completions, ChoicesAndEcho) {
  TestServer test;
  test.engine.answer = [](const Request& request) {
    std::vector<TokenId> tokens = request.prompt;
    tokens.push_back('0' + static_cast<TokenId>(request.sampling.seed));
    return tokens;
  };
  const Json reply = test.Complete(R"({"prompt":["ab","c"],"n":2,"seed":3,"echo":true})").json();
  EXPECT_EQ(Text(reply, 0), "abab3");
  EXPECT_EQ(Text(reply, 1), "abab4");
  EXPECT_EQ(Text(reply, 2), "cc3");
  EXPECT_EQ(Text(reply, 3), "cc4");
  EXPECT_EQ(Choice(reply, 3).Find("index")->as_int(), 3);
  EXPECT_EQ(reply.Find("usage")->Find("prompt_tokens")->as_int(), 3);
  EXPECT_EQ(reply.Find("usage")->Find("completion_tokens")->as_int(), 4 + 4 + 3 + 3);
  EXPECT_EQ(Text(test.Complete(R"({"prompt":[97,98],"seed":3,"echo":true})").json()), "abab3");

  const HttpReply stream = test.Complete(R"({"prompt":["ab","c"],"n":2,"seed":3,"echo":true,"stream":true})");
  std::map<int64_t, std::string> texts;
  for (const std::string& event : stream.events()) {
    if (event == "[DONE]") continue;
    const Json json = Json::Parse(event).value();
    EXPECT_EQ(json.Find("usage"), nullptr);
    texts[*Choice(json).Find("index")->as_int()] += Text(json);
  }
  EXPECT_EQ(texts, (std::map<int64_t, std::string>{{0, "abab3"}, {1, "abab4"}, {2, "cc3"}, {3, "cc4"}}));
}

TEST(Completions, Logprobs) {
  TestServer test;
  test.engine.answer = [](const Request&) { return Bytes("aéb"); };
  const Json reply = test.Complete(R"({"prompt":"x","logprobs":2})").json();
  EXPECT_EQ(Choice(reply).Find("logprobs")->Dump(),
            "{\"tokens\":[\"a\",\"\xef\xbf\xbd\",\"\xef\xbf\xbd\",\"b\"],\"token_logprobs\":[-0.5,-0.5,-0.5,-0.5],"
            "\"top_logprobs\":[{\"a\":-0.5,\"b\":-1.5},{\"\xef\xbf\xbd\":-0.5},{\"\xef\xbf\xbd\":-0.5},"
            "{\"b\":-0.5,\"c\":-1.5}],\"text_offset\":[0,1,2,2]}");
  // Tokens of a stop string are not in the answer and neither are their logprobs.
  const Json stopped = test.Complete(R"({"prompt":"x","logprobs":0,"stop":"b"})").json();
  EXPECT_EQ(Choice(stopped).Find("logprobs")->Find("tokens")->as_array().size(), 3u);
}

TEST(Completions, QueueFull) {
  TestServer test;
  test.engine.capacity = 2;
  const HttpReply reply = test.Complete(R"({"prompt":"a","n":3})");
  EXPECT_EQ(reply.status, 429);
  EXPECT_EQ(reply.headers.at("retry-after"), "1");
  EXPECT_EQ(*reply.json().Find("error")->Find("type"), Json("rate_limit_error"));
  EXPECT_TRUE(test.engine.WaitUntilIdle());  // the two that were accepted were cancelled
  EXPECT_EQ(test.engine.cancelled(), 2);
  EXPECT_EQ(test.Complete(R"({"prompt":"a","n":2})").status, 200);
}

TEST(Completions, EngineError) {
  TestServer test;
  test.engine.fail_after = 2;
  const HttpReply whole = test.Complete(R"({"prompt":"a","n":2})");
  EXPECT_EQ(whole.status, 500);
  EXPECT_EQ(*whole.json().Find("error")->Find("message"), Json("The engine broke."));
  const HttpReply stream = test.Complete(R"({"prompt":"a","stream":true})");
  EXPECT_EQ(stream.status, 200);
  const Json last = Json::Parse(stream.events().back()).value();
  EXPECT_EQ(*last.Find("error")->Find("message"), Json("The engine broke."));
  EXPECT_TRUE(test.engine.WaitUntilIdle());
}

}  // namespace
}  // namespace gannet::server_testing
