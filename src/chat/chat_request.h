// From the JSON of an OpenAI-style chat request to the context of a chat template.
#pragma once

#include <string>

#include "base/json.h"
#include "base/result.h"

namespace gannet {

// What the model adds to the request. An empty token is left undefined.
struct ChatContextOptions {
  std::string bos_token;
  std::string eos_token;
  bool content_parts = false;  // keep lists of text parts as lists (ChatTemplate::reads_content_parts), else join them
                               // with line ends
};

// Reads messages, tools, documents, add_generation_prompt (true), reasoning_effort and chat_template_kwargs of
// `request` and ignores the rest. As with transformers: tools and documents are None when absent; tool_calls'
// arguments that are JSON text become objects; a message's reasoning is there as reasoning_content and as thinking.
// Errors name the field at fault in `param` (messages[2].content).
Result<Json> MakeChatContext(const Json& request, const ChatContextOptions& options);

}  // namespace gannet
