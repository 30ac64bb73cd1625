// libFuzzer: any bytes as a template, rendered with a small conversation.
#include <cstddef>
#include <cstdint>

#include "chat/template.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const gannet::Json context =
      gannet::Json::Parse(R"({"messages": [{"role": "user", "content": "é <x>"}, {"role": "assistant", "content": null,
        "tool_calls": [{"function": {"name": "f", "arguments": {"a": [1, 2.5, "s"]}}}]}], "tools": [{"k": {}}],
        "n": 3, "s": "a b", "add_generation_prompt": true})")
          .value();
  gannet::RenderOptions options;
  options.max_steps = 50'000;
  options.max_text_bytes = 1 << 20;
  auto parsed = gannet::ChatTemplate::Parse(std::string(reinterpret_cast<const char*>(data), size));
  if (parsed) (void)parsed->Render(context, options);
  return 0;
}
