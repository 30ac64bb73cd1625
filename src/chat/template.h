// Chat templates: the Jinja of Hugging Face tokenizers, equal to Python's jinja2 with the settings of transformers
// (ImmutableSandboxedEnvironment, trim_blocks, lstrip_blocks, loop controls, its tojson, raise_exception,
// strftime_now). What is not supported is an error with line and name, never a guess.
#pragma once

#include <cstddef>
#include <cstdint>
#include <ctime>
#include <memory>
#include <optional>
#include <string>

#include "base/json.h"
#include "base/result.h"

namespace gannet {

namespace jinja {
struct ParsedTemplate;
}

struct RenderOptions {
  std::optional<std::tm> now;  // for strftime_now; the local time when absent
  int64_t max_steps = 20'000'000;
  size_t max_text_bytes = size_t{64} << 20;  // of the prompt, and of any text on the way to it
};

class ChatTemplate {
 public:
  // The error names the line and what is wrong there. At most 4 MiB.
  static Result<ChatTemplate> Parse(std::string source);

  // `context`: an object with messages, tools, add_generation_prompt, bos_token, ... (chat_request.h makes it). Errors:
  // the template refuses the conversation (raise_exception), fails on it, or takes too many steps. Any thread.
  Result<std::string> Render(const Json& context, const RenderOptions& options = {}) const;

  // Whether the template walks through a message's content as a list of parts; if not, it wants text.
  bool reads_content_parts() const;

 private:
  explicit ChatTemplate(std::shared_ptr<const jinja::ParsedTemplate> parsed) : parsed_(std::move(parsed)) {}

  std::shared_ptr<const jinja::ParsedTemplate> parsed_;
};

}  // namespace gannet
