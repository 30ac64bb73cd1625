#include "cli/synth_tokenizer.h"

#include <fmt/format.h>

#include <string>

#include "base/json.h"
#include "cli/common.h"

namespace gannet {
namespace {

// GPT-2's printable character for a byte: itself where it prints, else the next one from 256 on.
std::string ByteLevelCharacter(int byte) {
  const auto prints = [](int b) { return (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174; };
  int code = byte;
  if (!prints(byte)) {
    code = 256;
    for (int b = 0; b < byte; ++b) code += !prints(b);
  }
  if (code < 128) return std::string(1, static_cast<char>(code));
  return {static_cast<char>(0xC0 | code >> 6), static_cast<char>(0x80 | (code & 0x3F))};
}

Json ByteLevel() {
  Json stage;
  stage.Set("type", "ByteLevel");
  stage.Set("add_prefix_space", false);
  stage.Set("trim_offsets", true);
  stage.Set("use_regex", true);
  return stage;
}

}  // namespace

bool WriteByteTokenizer(const std::filesystem::path& folder, int64_t vocab) {
  if (vocab < 256) return false;
  Json::Object tokens;
  for (int64_t id = 0; id < vocab; ++id) {
    tokens.push_back({id < 256 ? ByteLevelCharacter(static_cast<int>(id)) : fmt::format("\u0120{}", id), Json(id)});
  }
  Json model;
  model.Set("type", "BPE");
  model.Set("vocab", Json(std::move(tokens)));
  model.Set("merges", Json(Json::Array{}));
  Json tokenizer;
  tokenizer.Set("version", "1.0");
  tokenizer.Set("added_tokens", Json(Json::Array{}));
  tokenizer.Set("normalizer", nullptr);
  tokenizer.Set("pre_tokenizer", ByteLevel());
  tokenizer.Set("post_processor", nullptr);
  tokenizer.Set("decoder", ByteLevel());
  tokenizer.Set("model", std::move(model));
  WriteTextFile(folder / "tokenizer.json", tokenizer.Dump() + "\n");
  Json config;
  config.Set("chat_template",
             "{% for message in messages %}{{ message['role'] + ': ' + message['content'] + '\\n' }}{% endfor %}"
             "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}");
  WriteTextFile(folder / "tokenizer_config.json", config.Dump() + "\n");
  return true;
}

}  // namespace gannet
