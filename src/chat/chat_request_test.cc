#include "chat/chat_request.h"

#include <gtest/gtest.h>

#include "chat/template.h"

namespace gannet {
namespace {

Json Parsed(const char* text) {
  auto json = Json::Parse(text);
  EXPECT_TRUE(json.ok()) << text;
  return json ? *json : Json();
}

std::string Context(const char* request, const ChatContextOptions& options = {}) {
  auto context = MakeChatContext(Parsed(request), options);
  return context ? context->Dump() : context.error().param + ": " + context.error().message;
}

TEST(ChatRequest, PlainMessages) {
  EXPECT_EQ(Context(R"({"model":"m","messages":[{"role":"user","content":"hi","name":"x"}]})", {"<s>", "</s>"}),
            R"({"messages":[{"role":"user","content":"hi","name":"x"}],"tools":null,"documents":null,)"
            R"("add_generation_prompt":true,"bos_token":"<s>","eos_token":"</s>"})");
}

TEST(ChatRequest, ContentParts) {
  const char* request =
      R"({"messages":[{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}]})";
  EXPECT_NE(Context(request).find(R"("content":"a\nb")"), std::string::npos);
  EXPECT_NE(Context(request, {.bos_token = {}, .eos_token = {}, .content_parts = true})
                .find(R"([{"type":"text","text":"a"})"),
            std::string::npos);
  EXPECT_NE(Context(R"({"messages":[{"role":"user","content":[]}]})").find(R"("content":"")"), std::string::npos);
}

TEST(ChatRequest, ToolCallsBecomeObjects) {
  const std::string context = Context(R"({"messages":[{"role":"assistant","tool_calls":[
      {"id":"1","type":"function","function":{"name":"f","arguments":"{\"b\": 1, \"a\": [null]}"}},
      {"id":"2","type":"function","function":{"name":"g","arguments":" "}},
      {"id":"3","type":"function","function":{"name":"h","arguments":{"x":2}}}]}],
      "tools":[{"type":"function","function":{"name":"f","parameters":{}}}]})");
  EXPECT_NE(context.find(R"({"name":"f","arguments":{"b":1,"a":[null]}})"), std::string::npos) << context;
  EXPECT_NE(context.find(R"({"name":"g","arguments":{}})"), std::string::npos);
  EXPECT_NE(context.find(R"({"name":"h","arguments":{"x":2}})"), std::string::npos);
  EXPECT_NE(context.find(R"("content":null)"), std::string::npos);
  EXPECT_NE(context.find(R"("tools":[{"type":"function")"), std::string::npos);
}

TEST(ChatRequest, NullToolCallsAreAsIfAbsent) {
  EXPECT_EQ(Context(R"({"messages":[{"role":"assistant","content":"a","tool_calls":null}],"tools":[]})"),
            R"({"messages":[{"role":"assistant","content":"a"}],"tools":null,"documents":null,)"
            R"("add_generation_prompt":true})");
}

TEST(ChatRequest, ReasoningGoesByAllItsNames) {
  EXPECT_NE(Context(R"({"messages":[{"role":"assistant","content":"a","reasoning":"r"}]})")
                .find(R"({"thinking":"r","role":"assistant","content":"a","reasoning":"r","reasoning_content":"r"})"),
            std::string::npos);
  EXPECT_NE(Context(R"({"messages":[{"role":"assistant","content":"a","thinking":"t","reasoning_content":null}]})")
                .find(R"("thinking":"t","reasoning_content":"t")"),
            std::string::npos);
}

TEST(ChatRequest, TemplateArguments) {
  const std::string context = Context(R"({"messages":[{"role":"user","content":"a"}],"reasoning_effort":"low",
      "add_generation_prompt":false,"chat_template_kwargs":{"enable_thinking":false,"reasoning_effort":"high"}})");
  EXPECT_NE(context.find(R"("add_generation_prompt":false,"reasoning_effort":"high","enable_thinking":false)"),
            std::string::npos)
      << context;
}

TEST(ChatRequest, FaultsNameTheField) {
  const std::pair<const char*, const char*> cases[] = {
      {R"([])", ": the request must be a JSON object"},
      {R"({})", "messages: messages must be a list of messages"},
      {R"({"messages":[]})", "messages: messages must not be empty"},
      {R"({"messages":[1]})", "messages[0]: messages[0] must be an object"},
      {R"({"messages":[{"content":"x"}]})", "messages[0].role: messages[0].role must be a string"},
      {R"({"messages":[{"role":"user"}]})", "messages[0].content: messages[0].content is missing"},
      {R"({"messages":[{"role":"user","content":5}]})",
       "messages[0].content: messages[0].content must be a string, null or a list of text parts"},
      {R"({"messages":[{"role":"user","content":[{"type":"image_url","image_url":{}}]}]})",
       "messages[0].content[0].type: messages[0].content[0].type is \"image_url\", but this model reads text only; "
       "send "
       "parts of type \"text\""},
      {R"({"messages":[{"role":"user","content":[{"type":"text"}]}]})",
       "messages[0].content[0].text: messages[0].content[0].text must be a string"},
      {R"({"messages":[{"role":"assistant","content":"","tool_calls":{}}]})",
       "messages[0].tool_calls: messages[0].tool_calls must be a list"},
      {R"({"messages":[{"role":"assistant","content":"","tool_calls":[{"function":{"name":"f","arguments":"[1]"}}]}]})",
       "messages[0].tool_calls[0].function.arguments: messages[0].tool_calls[0].function.arguments must be the JSON "
       "text "
       "of an object"},
      {R"({"messages":[{"role":"user","content":"x"}],"tools":{}})", "tools: tools must be a list"},
      {R"({"messages":[{"role":"user","content":"x"}],"tools":[{"type":"web"}]})",
       "tools[0].type: tools[0].type must be \"function\""},
      {R"({"messages":[{"role":"user","content":"x"}],"tools":[{"function":{}}]})",
       "tools[0].function.name: tools[0].function.name must be a string that is not empty"},
      {R"({"messages":[{"role":"user","content":"x"}],"chat_template_kwargs":{"messages":[]}})",
       "chat_template_kwargs.messages: chat_template_kwargs.messages is set by the request's own field of that name"},
      {R"({"messages":[{"role":"user","content":"x"}],"chat_template_kwargs":3})",
       "chat_template_kwargs: chat_template_kwargs must be an object"},
      {R"({"messages":[{"role":"user","content":"x"}],"documents":["a"]})",
       "documents: documents must be a list of objects"},
      {R"({"messages":[{"role":"user","content":"x"}],"add_generation_prompt":1})",
       "add_generation_prompt: add_generation_prompt must be true or false"}};
  for (const auto& [request, expected] : cases) EXPECT_EQ(Context(request), expected) << request;
  EXPECT_TRUE(Context(R"({"messages":[{"role":"assistant","content":"","tool_calls":[
      {"function":{"name":"f","arguments":"{\"a\""}}]}]})")
                  .starts_with("messages[0].tool_calls[0].function.arguments: "));
}

TEST(ChatRequest, RendersWithATemplate) {
  auto parsed = ChatTemplate::Parse(
      "{{ bos_token }}{% for m in messages %}{{ m.role }}:{{ m.content }};{% endfor %}"
      "{{ 'A:' if add_generation_prompt }}{{ enable_thinking }}{{ tools }}");
  ASSERT_TRUE(parsed.ok());
  auto context = MakeChatContext(Parsed(R"({"messages":[{"role":"user","content":[{"type":"text","text":"é"}]}],
      "chat_template_kwargs":{"enable_thinking":true}})"),
                                 {.bos_token = "<s>", .eos_token = {}, .content_parts = parsed->reads_content_parts()});
  ASSERT_TRUE(context.ok());
  EXPECT_EQ(parsed->Render(*context).value(), "<s>user:é;A:TrueNone");
}

}  // namespace
}  // namespace gannet
