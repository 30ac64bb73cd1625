#include "chat/template.h"

#include <fmt/format.h>

#include "chat/jinja/ast.h"
#include "chat/jinja/interpreter.h"
#include "chat/jinja/text.h"

namespace gannet {

Result<ChatTemplate> ChatTemplate::Parse(std::string source) {
  constexpr size_t kMaxSource = size_t{4} << 20;
  if (source.size() > kMaxSource) return Error{"the chat template is larger than 4 MiB"};
  if (!jinja::IsValidUtf8(source)) return Error{"the chat template is not valid UTF-8"};
  try {
    return ChatTemplate(std::make_shared<const jinja::ParsedTemplate>(jinja::ParseTemplate(source)));
  } catch (const jinja::SyntaxError& error) {
    return Error{fmt::format("chat template, line {}: {}", error.line, error.message)};
  }
}

Result<std::string> ChatTemplate::Render(const Json& context, const RenderOptions& options) const {
  GANNET_ASSERT(context.is_object(), "the context of a chat template is an object");
  std::tm now = {};
  if (options.now) {
    now = *options.now;
  } else {
    const std::time_t seconds = std::time(nullptr);
    localtime_r(&seconds, &now);
  }
  jinja::Limits limits;
  limits.steps = options.max_steps;
  limits.text_bytes = options.max_text_bytes;
  int line = 0;
  try {
    const jinja::Value root = jinja::Value::FromJson(context);
    jinja::Interpreter interpreter(jinja::DictOf(root), now, limits);
    try {
      return interpreter.Render(parsed_->body);
    } catch (const jinja::Failure&) {
      line = interpreter.line();
      throw;
    }
  } catch (const jinja::Failure& failure) {
    if (failure.refused) return Error{"the chat template refuses this conversation: " + failure.message};
    return Error{fmt::format("chat template, line {}: {}", line, failure.message)};
  }
}

bool ChatTemplate::reads_content_parts() const { return parsed_->loops_over_content; }

}  // namespace gannet
