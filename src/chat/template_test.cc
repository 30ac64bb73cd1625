#include "chat/template.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "base/mapped_file.h"

namespace gannet {
namespace {

// 2026-03-04 05:06:07, a Wednesday: the clock of tools/goldens/chat_templates.py.
RenderOptions GoldenClock() {
  RenderOptions options;
  std::tm now = {};
  now.tm_year = 126;
  now.tm_mon = 2;
  now.tm_mday = 4;
  now.tm_hour = 5;
  now.tm_min = 6;
  now.tm_sec = 7;
  now.tm_wday = 3;
  now.tm_yday = 62;
  options.now = now;
  return options;
}

Json ReadGolden(const std::string& name) {
  auto json = Json::Parse(ReadTextFile(std::string(GANNET_SOURCE_DIR) + "/tests/chat/" + name));
  EXPECT_TRUE(json.ok());
  return std::move(json).value();
}

std::string RenderOrError(const std::string& source, const Json& context) {
  auto parsed = ChatTemplate::Parse(source);
  if (!parsed) return "ERROR " + parsed.error().message;
  auto text = parsed->Render(context, GoldenClock());
  return text ? *text : "ERROR " + text.error().message;
}

// The text is Python's; where Python fails, so do we, with the same sentence where it is jinja2's own or the
// template's.
void ExpectLikePython(const Json& golden, const std::string& source, const Json& context, const std::string& label) {
  const std::string got = RenderOrError(source, context);
  if (const Json* output = golden.Find("output")) {
    EXPECT_EQ(got, output->as_string()) << label;
    return;
  }
  const std::string kind = golden.Find("error")->as_string();
  const std::string message = golden.Find("message")->as_string();
  ASSERT_TRUE(got.starts_with("ERROR ")) << label << "\nPython: " << kind << ": " << message << "\ngot: " << got;
  if (kind == "TemplateError") {
    EXPECT_EQ(got, "ERROR the chat template refuses this conversation: " + message) << label;
  } else if (kind == "UndefinedError" || kind == "SecurityError") {
    if (message.starts_with("Chat templates cannot store")) return;
    EXPECT_TRUE(got.ends_with(": " + message)) << label << "\nPython: " << message << "\ngot: " << got;
  }
}

// Python takes these; here they are errors, with a sentence.
const char* const kNotSupported[] = {
    "{% for x in xs recursive %}",
    "{% block x %}",
    "{% autoescape true %}",
    "\\N{BULLET}",
    "self is",
    "{% print n, s %}",
    "s.encode",
    "swapcase",
};
bool IsNotSupported(const std::string& source) {
  for (const char* construct : kNotSupported) {
    if (source.find(construct) != std::string::npos) return true;
  }
  return false;
}

TEST(ChatTemplate, FamiliesRenderAsPythonDoes) {
  const Json goldens = ReadGolden("families.json");
  for (const Json& golden : goldens.Find("cases")->as_array()) {
    const std::string family = golden.Find("template")->as_string();
    const std::string conversation = golden.Find("conversation")->as_string();
    ExpectLikePython(golden, goldens.Find("templates")->Find(family)->as_string(),
                     *goldens.Find("conversations")->Find(conversation), family + " / " + conversation);
  }
}

TEST(ChatTemplate, SnippetsRenderAsPythonDoes) {
  const Json goldens = ReadGolden("snippets.json");
  for (const Json& golden : goldens.Find("cases")->as_array()) {
    const std::string& source = golden.Find("source")->as_string();
    if (IsNotSupported(source)) {
      EXPECT_TRUE(RenderOrError(source, *goldens.Find("context")).starts_with("ERROR ")) << source;
    } else {
      ExpectLikePython(golden, source, *goldens.Find("context"), source);
    }
  }
}

TEST(ChatTemplate, ErrorsNameLineAndConstruct) {
  const Json context = Json::Object{};
  EXPECT_EQ(RenderOrError("a\n{% include 'x' %}", context),
            "ERROR chat template, line 2: the tag 'include' is unknown or not supported here");
  EXPECT_EQ(RenderOrError("\n\n{{ 'x'|urlize }}", context),
            "ERROR chat template, line 3: the filter 'urlize' is unknown or not supported");
  EXPECT_EQ(RenderOrError("{% if true %}\n{{ 'x'|urlize }}{% endif %}", context),
            "ERROR chat template, line 2: the filter 'urlize' is unknown or not supported");
  EXPECT_EQ(RenderOrError("\n{{ a.b }}", context), "ERROR chat template, line 2: 'a' is undefined");
  EXPECT_EQ(RenderOrError("{% macro m(x) %}\n{{ x }}{% endmacro %}\n\n{{ m(1) + 1 }}", context),
            "ERROR chat template, line 4: can only concatenate str (not \"int\") to str");
  EXPECT_EQ(RenderOrError("{% for x in [1] %}", context),
            "ERROR chat template, line 1: the template ends where 'endfor' is missing");
}

void ExpectRunsOut(const std::string& source) {
  auto parsed = ChatTemplate::Parse(source);
  ASSERT_TRUE(parsed.ok()) << source << parsed.error().message;
  RenderOptions options;
  options.max_steps = 2'000'000;
  options.max_text_bytes = size_t{8} << 20;
  auto text = parsed->Render(Json::Object{}, options);
  ASSERT_FALSE(text.ok()) << source;
  const std::string& message = text.error().message;
  EXPECT_TRUE(message.find("steps") != std::string::npos || message.find("bytes") != std::string::npos ||
              message.find("deeply") != std::string::npos || message.find("too") != std::string::npos)
      << message;
}

TEST(ChatTemplate, FuelEndsWhatWouldNot) {
  const std::string loop = "{% for i in range(100000) %}";
  ExpectRunsOut(loop + loop + "{% endfor %}{% endfor %}");
  ExpectRunsOut(loop +
                "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890"
                "{% endfor %}");
  ExpectRunsOut("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}");
  ExpectRunsOut(
      "{% macro m() %}{% if true %}{% for x in [1] %}{{ m()|upper }}{% endfor %}{% endif %}{% endmacro %}{{ m() }}");
  ExpectRunsOut("{{ 'x' * 1000000000000 }}");
  ExpectRunsOut("{{ [1] * 1000000000 }}");
  ExpectRunsOut("{% set ns = namespace(x='ab') %}" + loop + "{% set ns.x = ns.x ~ ns.x %}{% endfor %}");
  ExpectRunsOut("{% set ns = namespace(x='ab') %}" + loop + "{% set ns.x = ns.x + ns.x %}{% endfor %}");
  ExpectRunsOut("{% set ns = namespace(x=[1, 2]) %}" + loop + "{% set ns.x = ns.x + ns.x %}{% endfor %}");
  ExpectRunsOut("{% set ns = namespace(x=[]) %}" + loop + "{% set ns.x = [ns.x] %}{% endfor %}");
  for (const char* use : {"ns.x|tojson", "ns.x == ns.y", "ns.x|string", "{ns.t: 1}", "ns.x < ns.y"}) {
    ExpectRunsOut(
        "{% set ns = namespace(x=[1], y=[1], t=(1,)) %}{% for i in range(64) %}{% set ns.x = [ns.x, ns.x] %}"
        "{% set ns.y = [ns.y, ns.y] %}{% set ns.t = (ns.t, ns.t) %}{% endfor %}{{ " +
        std::string(use) + " }}");
  }
  ExpectRunsOut("{% set x = 'a' * 100000 %}{{ x|replace('a', x) }}");
  ExpectRunsOut("{% set x = 'a' * 100000 %}{{ x|list|join(x) }}");
  ExpectRunsOut("{% set x = 'a\n' * 1000000 %}{{ x|indent(10000) }}");
  ExpectRunsOut("{{ [1]|batch(1000000000, 'x')|list }}");
  ExpectRunsOut("{{ 'x'.ljust(1000000000000) }}");
  ExpectRunsOut("{{ '%1000000d' % 1 }}");
  ExpectRunsOut("{{ [1]|slice(100000000000)|list }}");
}

TEST(ChatTemplate, CyclesAreFreedAndDepthIsBounded) {
  // The leak checker of the asan build sees to the first; the others would end on the stack.
  EXPECT_EQ(RenderOrError("{% set ns = namespace() %}{% set ns.me = ns %}{% macro m() %}{{ ns.me.me.x }}{% endmacro %}"
                          "{% set ns.m = m %}{{ ns.m() }}ok",
                          Json::Object{}),
            "ok");
  EXPECT_EQ(RenderOrError("{% set ns = namespace(x=none) %}{% for i in range(100000) %}"
                          "{% set ns.x = namespace(x=ns.x) %}{% endfor %}ok",
                          Json::Object{}),
            "ok");
  EXPECT_EQ(RenderOrError("{% set ns = namespace(f=none) %}{% for i in range(50000) %}{% set g = ns.f %}"
                          "{% macro f() %}{{ g }}{% endmacro %}{% set ns.f = f %}{% endfor %}ok",
                          Json::Object{}),
            "ok");
  for (const char* unit : {"(", "[", "{'a':", "-", "not ", "1+", "a.b[", "f(", "1 if 1 else ", "x|default("}) {
    std::string source = "{{ ";
    for (int i = 0; i < 20000; ++i) source += unit;
    EXPECT_FALSE(ChatTemplate::Parse(source + "1 }}").ok()) << unit;
  }
  for (const char* unit : {"{% if a %}", "{% for x in y %}", "{% macro m() %}", "{% filter upper %}", "{% set x %}"}) {
    std::string source;
    for (int i = 0; i < 20000; ++i) source += unit;
    EXPECT_FALSE(ChatTemplate::Parse(source).ok()) << unit;
  }
  // Python fails on the deep value too, long before; here it is the schema's depth that templates recurse over.
  std::string schema =
      "{% macro t(s) %}{% if s.p %}{% for k, v in s.p.items() %}[{{ t(v) }}]{% endfor %}{% else %}x"
      "{% endif %}{% endmacro %}{{ t(s) }}";
  Json deep = Json::Object{};
  for (int i = 0; i < 60; ++i) deep = Json::Object{{"p", Json::Object{{"k", std::move(deep)}}}};
  EXPECT_EQ(RenderOrError(schema, Json::Object{{"s", std::move(deep)}}),
            std::string(60, '[') + "x" + std::string(60, ']'));
}

TEST(ChatTemplate, BadSourceIsAnError) {
  EXPECT_FALSE(ChatTemplate::Parse("\xff").ok());
  EXPECT_FALSE(ChatTemplate::Parse(std::string(5 << 20, 'a')).ok());
  EXPECT_FALSE(ChatTemplate::Parse("{{ '\\ud83d' }}").ok());
}

TEST(ChatTemplate, KnowsWhetherContentIsReadAsParts) {
  const Json goldens = ReadGolden("families.json");
  const auto reads = [&](const char* family) {
    return ChatTemplate::Parse(goldens.Find("templates")->Find(family)->as_string())->reads_content_parts();
  };
  EXPECT_TRUE(reads("glm45"));
  EXPECT_TRUE(reads("gemma"));
  EXPECT_TRUE(reads("step"));
  EXPECT_FALSE(reads("qwen"));
  EXPECT_FALSE(reads("deepseek"));
  EXPECT_FALSE(reads("chatml"));
}

// Pieces of real templates cut, repeated and joined at random: an error or a text, never a crash or a hang.
TEST(ChatTemplate, MutatedTemplatesNeverCrash) {
  const Json goldens = ReadGolden("families.json");
  const Json snippets = ReadGolden("snippets.json");
  std::vector<std::string> sources;
  for (const Json::Member& member : goldens.Find("templates")->as_object()) sources.push_back(member.value.as_string());
  for (const Json& golden : snippets.Find("cases")->as_array()) sources.push_back(golden.Find("source")->as_string());
  const Json& context = *goldens.Find("conversations")->Find("two tool turns");
  std::mt19937 random(11);
  const auto pick = [&](size_t n) { return n == 0 ? 0 : random() % n; };
  RenderOptions options = GoldenClock();
  options.max_steps = 100'000;
  options.max_text_bytes = 1 << 20;
  int rendered = 0;
  for (int run = 0; run < 12000; ++run) {
    std::string source = sources[pick(sources.size())];
    for (size_t edit = pick(4) + 1; edit > 0; --edit) {
      const std::string& other = sources[pick(sources.size())];
      const size_t at = pick(source.size() + 1);
      switch (pick(5)) {
        case 0:
          source.erase(at, pick(12));
          break;
        case 1:
          source.insert(at, other.substr(pick(other.size()), pick(40)));
          break;
        case 2:
          source.insert(at, source.substr(pick(source.size()), pick(20)));
          break;
        case 3:
          if (at < source.size()) source[at] = "{}%()[]|.'\"-+~=, \n0x"[pick(20)];
          break;
        default:
          std::swap(source[pick(source.size())], source[pick(source.size())]);
          break;
      }
      if (source.empty()) source.push_back(' ');
    }
    auto parsed = ChatTemplate::Parse(source);
    if (!parsed) {
      EXPECT_FALSE(parsed.error().message.empty());
      continue;
    }
    auto text = parsed->Render(context, options);
    if (text) {
      EXPECT_TRUE(Json::Parse(Json(*text).Dump()).ok());
    } else {
      EXPECT_FALSE(text.error().message.empty());
    }
    ++rendered;
  }
  EXPECT_GT(rendered, 1000);
}

}  // namespace
}  // namespace gannet
