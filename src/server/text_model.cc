#include "server/text_model.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/mapped_file.h"
#include "chat/chat_request.h"

namespace gannet {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxTextFile = size_t{512} << 20;

Json ReadJsonFile(const fs::path& path) {
  Result<Json> json = Json::Parse(ReadTextFile(path, kMaxTextFile));
  if (!json.ok()) throw LoadError("server", fmt::format("'{}': {}", path.string(), json.error().message));
  return std::move(json).value();
}

Json ReadJsonFileIfThere(const fs::path& path) { return fs::exists(path) ? ReadJsonFile(path) : Json(); }

ChatTemplate ParseTemplate(std::string source, const std::string& where) {
  Result<ChatTemplate> parsed = ChatTemplate::Parse(std::move(source));
  if (!parsed.ok()) {
    throw LoadError("server",
                    fmt::format("the chat template in '{}' cannot be used: {}", where, parsed.error().message));
  }
  return std::move(parsed).value();
}

// tokenizer_config.json's chat_template: a string, or [{"name", "template"}], of which "default" is taken.
std::optional<std::string> TemplateIn(const Json& config, const std::string& where) {
  const Json* member = config.Find("chat_template");
  if (member == nullptr || member->is_null()) return std::nullopt;
  if (member->is_string()) return member->as_string();
  if (member->is_array()) {
    for (const Json& item : member->as_array()) {
      const Json* name = item.Find("name");
      const Json* source = item.Find("template");
      if (name != nullptr && *name == Json("default") && source != nullptr && source->is_string()) {
        return source->as_string();
      }
    }
  }
  throw LoadError("server",
                  fmt::format("'{}': chat_template is no string and has no template named \"default\"", where));
}

// "bos_token": "<s>" or {"content": "<s>", ...}; templates see every *_token that is named.
void ReadSpecialTokens(const Json& config, TextModel& text) {
  if (!config.is_object()) return;
  for (const auto& [key, value] : config.as_object()) {
    if (!key.ends_with("_token")) continue;
    const Json* content = value.is_object() ? value.Find("content") : &value;
    if (content != nullptr && content->is_string()) text.special_tokens[key] = content->as_string();
  }
}

void AddEndIds(const Json* value, const std::string& where, std::vector<TokenId>& ids) {
  if (value == nullptr || value->is_null()) return;
  const auto add = [&](const Json& id) {
    const std::optional<int64_t> number = id.is_number() ? id.as_int() : std::nullopt;
    if (!number || *number < 0 || *number > INT32_MAX) {
      throw LoadError("server", fmt::format("'{}': eos_token_id is no token id and no list of them", where));
    }
    ids.push_back(static_cast<TokenId>(*number));
  };
  if (value->is_array()) {
    for (const Json& id : value->as_array()) add(id);
  } else {
    add(*value);
  }
}

// A value that generation_config.json has, checked as a request's would be.
template <typename T>
void ReadDefault(const Json& config, const std::string& where, std::string_view name, double low, double high,
                 T& value) {
  const Json* member = config.Find(name);
  if (member == nullptr || member->is_null()) return;
  if (!member->is_number() || !(member->as_double() >= low && member->as_double() <= high)) {
    throw LoadError("server", fmt::format("'{}': {} must be a number between {} and {}", where, name, low, high));
  }
  value = static_cast<T>(member->as_double());
}

void ReadDefaults(const Json& config, const std::string& where, GenerationDefaults& defaults) {
  ReadDefault(config, where, "temperature", 0, 100, defaults.temperature);
  ReadDefault(config, where, "top_p", 1e-6, 1, defaults.top_p);
  ReadDefault(config, where, "top_k", 0, 1e9, defaults.top_k);
  ReadDefault(config, where, "min_p", 0, 1, defaults.min_p);
  ReadDefault(config, where, "repetition_penalty", 1e-6, 10, defaults.repetition_penalty);
}

void LoadFolder(const Checkpoint& checkpoint, TextModel& text, std::optional<std::string>& source, std::string& where) {
  const fs::path& folder = checkpoint.path();
  const fs::path tokenizer_path = folder / "tokenizer.json";
  const fs::path config_path = folder / "tokenizer_config.json";
  const fs::path generation_path = folder / "generation_config.json";
  if (!fs::exists(tokenizer_path)) {
    throw LoadError("server", fmt::format("'{}' has no tokenizer.json; without it there is no text", folder.string()));
  }
  const Json config = ReadJsonFileIfThere(config_path);
  text.tokenizer =
      Tokenizer::FromTokenizerJson(ReadTextFile(tokenizer_path, kMaxTextFile), config.is_null() ? nullptr : &config);
  ReadSpecialTokens(ReadJsonFileIfThere(folder / "special_tokens_map.json"), text);
  ReadSpecialTokens(config, text);
  if (const fs::path file = folder / "chat_template.jinja"; fs::exists(file)) {
    source = ReadTextFile(file, kMaxTextFile);
    where = file.string();
  } else {
    source = TemplateIn(config, config_path.string());
    where = config_path.string();
  }
  const Json generation = ReadJsonFileIfThere(generation_path);
  ReadDefaults(generation, generation_path.string(), text.defaults);
  AddEndIds(generation.Find("eos_token_id"), generation_path.string(), text.end_ids);
  AddEndIds(checkpoint.config().Find("eos_token_id"), (folder / "config.json").string(), text.end_ids);
}

}  // namespace

std::shared_ptr<const TextModel> TextModel::Load(const Checkpoint& checkpoint, const fs::path& chat_template_file) {
  auto text = std::make_shared<TextModel>();
  const fs::path path = fs::absolute(checkpoint.path()).lexically_normal();
  const fs::path leaf = path.has_filename() ? path.filename() : path.parent_path().filename();
  text->name = checkpoint.is_gguf() ? leaf.stem().string() : leaf.string();
  std::optional<std::string> source;
  std::string where = path.string();
  if (checkpoint.is_gguf()) {
    text->tokenizer = Tokenizer::FromGguf(checkpoint.metadata());
    const Json* chat_template = checkpoint.metadata().Find("tokenizer.chat_template");
    if (chat_template != nullptr && chat_template->is_string()) source = chat_template->as_string();
  } else {
    LoadFolder(checkpoint, *text, source, where);
  }
  if (!chat_template_file.empty()) {
    source = ReadTextFile(chat_template_file, kMaxTextFile);
    where = chat_template_file.string();
  }
  if (source) text->chat_template = ParseTemplate(std::move(*source), where);

  const auto name_token = [&](const char* name, std::optional<TokenId> id) {
    if (id) text->special_tokens.emplace(name, text->tokenizer->TokenText(*id));
  };
  name_token("bos_token", text->tokenizer->bos());
  name_token("eos_token", text->tokenizer->eos());
  name_token("unk_token", text->tokenizer->unk());
  name_token("pad_token", text->tokenizer->pad());
  for (const TokenId id : text->tokenizer->EndIds()) text->end_ids.push_back(id);
  std::sort(text->end_ids.begin(), text->end_ids.end());
  text->end_ids.erase(std::unique(text->end_ids.begin(), text->end_ids.end()), text->end_ids.end());
  return text;
}

std::shared_ptr<const TextModel> TextModel::Load(const fs::path& path, const fs::path& chat_template_file) {
  return Load(*Checkpoint::Open(path), chat_template_file);
}

Result<std::string> RenderChat(const TextModel& text, const Json& chat) {
  if (!text.chat_template) {
    return Error{fmt::format("The model '{}' has no chat template; use completions, or give one with --chat-template.",
                             text.name),
                 ErrorKind::kInvalid, "messages"};
  }
  const auto token = [&](const char* name) {
    const auto found = text.special_tokens.find(name);
    return found == text.special_tokens.end() ? std::string() : found->second;
  };
  GANNET_TRY(Json context, MakeChatContext(chat, {.bos_token = token("bos_token"),
                                                  .eos_token = token("eos_token"),
                                                  .content_parts = text.chat_template->reads_content_parts()}));
  for (const auto& [name, other] : text.special_tokens) {
    if (context.Find(name) == nullptr) context.Set(name, other);
  }
  return text.chat_template->Render(context);
}

}  // namespace gannet
