#include "chat/chat_request.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

namespace gannet {
namespace {

Error Refuse(std::string where, std::string_view what) {
  std::string message = fmt::format("{} {}", where, what);
  return Error{std::move(message), ErrorKind::kInvalid, std::move(where)};
}

// Text, or a list of {"type": "text", "text": ...}.
Result<Json> ReadContent(const Json& content, const std::string& where, bool keep_parts) {
  if (content.is_null() || content.is_string()) return content;
  if (!content.is_array()) return Refuse(where, "must be a string, null or a list of text parts");
  std::string joined;
  for (size_t i = 0; i < content.as_array().size(); ++i) {
    const Json& part = content.as_array()[i];
    const std::string part_where = fmt::format("{}[{}]", where, i);
    if (!part.is_object()) return Refuse(part_where, "must be an object");
    const Json* type = part.Find("type");
    if (!type || !type->is_string()) return Refuse(part_where + ".type", "must be a string");
    if (type->as_string() != "text") {
      return Refuse(part_where + ".type",
                    fmt::format("is \"{}\", but this model reads text only; send parts of type \"text\"",
                                type->as_string().substr(0, 64)));
    }
    const Json* text = part.Find("text");
    if (!text || !text->is_string()) return Refuse(part_where + ".text", "must be a string");
    if (i != 0) joined += '\n';
    joined += text->as_string();
  }
  if (keep_parts) return content;
  return Json(std::move(joined));
}

Result<Json> ReadToolCall(const Json& call, const std::string& where) {
  if (!call.is_object()) return Refuse(where, "must be an object");
  const Json* function = call.Find("function");
  if (!function || !function->is_object()) return Refuse(where + ".function", "must be an object");
  const Json* name = function->Find("name");
  if (!name || !name->is_string()) return Refuse(where + ".function.name", "must be a string");
  Json read_function = *function;
  if (const Json* arguments = function->Find("arguments"); arguments && arguments->is_string()) {
    const std::string at = where + ".function.arguments";
    const std::string& text = arguments->as_string();
    if (text.find_first_not_of(" \t\r\n") == std::string::npos) {
      read_function.Set("arguments", Json::Object{});
    } else {
      Result<Json> parsed = Json::Parse(text);
      if (!parsed) return Refuse(at, "must be an object or its JSON text: " + parsed.error().message);
      if (!parsed->is_object()) return Refuse(at, "must be the JSON text of an object");
      read_function.Set("arguments", std::move(parsed).value());
    }
  } else if (arguments && !arguments->is_object() && !arguments->is_null()) {
    return Refuse(where + ".function.arguments", "must be an object or its JSON text");
  }
  Json read = call;
  read.Set("function", std::move(read_function));
  return read;
}

// transformers fills reasoning_content from its other names, and thinking for templates that read that.
void NameReasoning(Json& message) {
  const Json* reasoning = nullptr;
  for (const char* name : {"reasoning_content", "thinking", "reasoning"}) {
    const Json* value = message.Find(name);
    if (value && !value->is_null()) {
      reasoning = value;
      break;
    }
  }
  if (!reasoning) return;
  const Json text = *reasoning;
  if (!message.Find("thinking")) message.as_object().insert(message.as_object().begin(), {"thinking", text});
  message.Set("reasoning_content", text);
}

Result<Json> ReadMessage(const Json& message, const std::string& where, bool keep_parts) {
  if (!message.is_object()) return Refuse(where, "must be an object");
  const Json* role = message.Find("role");
  if (!role || !role->is_string()) return Refuse(where + ".role", "must be a string");
  Json read = message;
  const Json* calls = message.Find("tool_calls");
  if (const Json* content = message.Find("content")) {
    GANNET_TRY(Json text, ReadContent(*content, where + ".content", keep_parts));
    read.Set("content", std::move(text));
  } else if (role->as_string() == "assistant" && calls && calls->is_array() && !calls->as_array().empty()) {
    read.Set("content", nullptr);
  } else {
    return Refuse(where + ".content", "is missing");
  }
  for (const char* name : {"reasoning_content", "thinking", "reasoning"}) {
    const Json* text = message.Find(name);
    if (text && !text->is_null() && !text->is_string()) return Refuse(where + "." + name, "must be a string or null");
  }
  NameReasoning(read);
  if (!calls) return read;
  if (calls->is_null()) {  // as if it were not there: many templates only ask whether it is
    std::erase_if(read.as_object(), [](const Json::Member& member) { return member.key == "tool_calls"; });
    return read;
  }
  if (!calls->is_array()) return Refuse(where + ".tool_calls", "must be a list");
  Json::Array read_calls;
  for (size_t i = 0; i < calls->as_array().size(); ++i) {
    GANNET_TRY(Json call, ReadToolCall(calls->as_array()[i], fmt::format("{}.tool_calls[{}]", where, i)));
    read_calls.push_back(std::move(call));
  }
  read.Set("tool_calls", std::move(read_calls));
  return read;
}

Result<Json> ReadTools(const Json* tools) {
  if (!tools || tools->is_null()) return Json();
  if (!tools->is_array()) return Refuse("tools", "must be a list");
  for (size_t i = 0; i < tools->as_array().size(); ++i) {
    const Json& tool = tools->as_array()[i];
    const std::string where = fmt::format("tools[{}]", i);
    if (!tool.is_object()) return Refuse(where, "must be an object");
    const Json* type = tool.Find("type");
    if (type && (!type->is_string() || type->as_string() != "function")) {
      return Refuse(where + ".type", "must be \"function\"");
    }
    const Json* function = tool.Find("function");
    if (!function || !function->is_object()) return Refuse(where + ".function", "must be an object");
    const Json* name = function->Find("name");
    if (!name || !name->is_string() || name->as_string().empty()) {
      return Refuse(where + ".function.name", "must be a string that is not empty");
    }
  }
  if (tools->as_array().empty()) return Json();
  return *tools;
}

}  // namespace

Result<Json> MakeChatContext(const Json& request, const ChatContextOptions& options) {
  if (!request.is_object()) return Error{"the request must be a JSON object"};
  const Json* messages = request.Find("messages");
  if (!messages || !messages->is_array()) return Refuse("messages", "must be a list of messages");
  if (messages->as_array().empty()) return Refuse("messages", "must not be empty");
  Json::Array read;
  for (size_t i = 0; i < messages->as_array().size(); ++i) {
    GANNET_TRY(Json message,
               ReadMessage(messages->as_array()[i], fmt::format("messages[{}]", i), options.content_parts));
    read.push_back(std::move(message));
  }
  Json context;
  context.Set("messages", std::move(read));
  GANNET_TRY(Json tools, ReadTools(request.Find("tools")));
  context.Set("tools", std::move(tools));

  const Json* documents = request.Find("documents");
  if (documents && !documents->is_null()) {
    const bool good = documents->is_array() && std::all_of(documents->as_array().begin(), documents->as_array().end(),
                                                           [](const Json& d) { return d.is_object(); });
    if (!good) return Refuse("documents", "must be a list of objects");
  }
  context.Set("documents", documents ? *documents : Json());

  const Json* prompt = request.Find("add_generation_prompt");
  if (prompt && !prompt->is_bool()) return Refuse("add_generation_prompt", "must be true or false");
  context.Set("add_generation_prompt", !prompt || prompt->as_bool());
  if (!options.bos_token.empty()) context.Set("bos_token", options.bos_token);
  if (!options.eos_token.empty()) context.Set("eos_token", options.eos_token);

  if (const Json* effort = request.Find("reasoning_effort"); effort && !effort->is_null()) {
    if (!effort->is_string()) return Refuse("reasoning_effort", "must be a string");
    context.Set("reasoning_effort", *effort);
  }
  const Json* kwargs = request.Find("chat_template_kwargs");
  if (!kwargs || kwargs->is_null()) return context;
  if (!kwargs->is_object()) return Refuse("chat_template_kwargs", "must be an object");
  for (const Json::Member& member : kwargs->as_object()) {
    if (member.key == "messages" || member.key == "tools" || member.key == "documents") {
      return Refuse("chat_template_kwargs." + member.key, "is set by the request's own field of that name");
    }
    context.Set(member.key, member.value);
  }
  return context;
}

}  // namespace gannet
