// The text side of a model: tokenizer, chat template, and the sampling its author recommends.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "chat/template.h"
#include "checkpoint/checkpoint.h"
#include "engine/request.h"
#include "tokenizer/tokenizer.h"

namespace gannet {

// generation_config.json's values, or what OpenAI's API says where it is silent.
struct GenerationDefaults {
  float temperature = 1;
  float top_p = 1;
  int top_k = 0;  // 0: no limit
  float min_p = 0;
  float repetition_penalty = 1;
};

struct TextModel {
  std::string name;  // of the folder or the file, without extension
  std::shared_ptr<const Tokenizer> tokenizer;
  std::optional<ChatTemplate> chat_template;          // empty: this model has none
  std::map<std::string, std::string> special_tokens;  // "bos_token" -> "<s>": templates name them
  GenerationDefaults defaults;
  std::vector<TokenId> end_ids;  // sorted; generation ends on any of them

  // Reads, of a folder: tokenizer.json, tokenizer_config.json, chat_template.jinja (which wins over the
  // tokenizer_config's), generation_config.json; of a GGUF file its metadata. `chat_template_file` replaces the
  // model's own template. Throws LoadError naming the file that is missing or cannot be used.
  static std::shared_ptr<const TextModel> Load(const Checkpoint& checkpoint,
                                               const std::filesystem::path& chat_template_file = {});
  static std::shared_ptr<const TextModel> Load(const std::filesystem::path& path,
                                               const std::filesystem::path& chat_template_file = {});
};

// `chat`: an object as MakeChatContext (chat/chat_request.h) reads it; the prompt ends where the assistant's answer
// begins. Errors: kInvalid when the model has no chat template, when the
// messages are malformed, or when the template refuses them.
Result<std::string> RenderChat(const TextModel& text, const Json& chat);

}  // namespace gannet
