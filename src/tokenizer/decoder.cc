#include "tokenizer/decoder.h"

#include "tokenizer/bpe.h"
#include "tokenizer/json_reading.h"

namespace gannet {

namespace tj = tokenizer_json;

Decoder Decoder::Parse(const Json* json) {
  if (!json || json->is_null()) tj::Fail("a tokenizer.json without a decoder is not implemented");
  Decoder decoder;
  decoder.Add(*json);
  return decoder;
}

void Decoder::Add(const Json& json) {
  const std::string& type = tj::String(json, "type", "a decoder");
  const std::string where = "decoder " + type;
  if (type == "Sequence") {
    for (const Json& part : tj::Array(json, "decoders", where)) Add(part);
    return;
  }
  if (type == "Fuse") {
    fused_ = true;
    return;
  }
  if (type == "Strip") {
    const std::string& text = tj::String(json, "content", where);
    const int64_t left = tj::Int(json, "start", 0, 1000, where);
    const int64_t right = tj::Int(json, "stop", 0, 1000, where);
    if (!fused_) {
      steps_.emplace_back(Strip{text, left, right});
      return;
    }
    if (right != 0) tj::Fail("{}: a \"stop\" other than 0 after Fuse is not implemented", where);
    if (text.size() != 1) tj::Fail("{}: a \"content\" that is not one ASCII character is not implemented", where);
    if (strip_left != 0) tj::Fail("{} twice after Fuse is not implemented", where);
    strip_left = static_cast<int>(left);
    strip_char = text[0];
    return;
  }
  if (fused_) tj::Fail("{} after Fuse or ByteLevel is not implemented", where);
  if (type == "ByteLevel") {
    steps_.emplace_back(ByteLevel{});
    fused_ = true;
  } else if (type == "ByteFallback") {
    steps_.emplace_back(ByteFallback{});
  } else if (type == "Replace") {
    const tj::Pattern pattern = tj::ReadPattern(json, where);
    if (pattern.is_regex) tj::Fail("{} with a regular expression is not implemented", where);
    steps_.emplace_back(Replace{pattern.text, tj::String(json, "content", where)});
  } else if (type == "Metaspace") {
    const std::string replacement = tj::Get(json, "replacement") ? tj::String(json, "replacement", where) : "\u2581";
    const bool never = tj::Get(json, "prepend_scheme") ? tj::String(json, "prepend_scheme", where) == "never"
                                                       : !tj::Bool(json, "add_prefix_space", true, where);
    if (!never && !steps_.empty()) tj::Fail("{} after another decoder is not implemented", where);
    if (!never) first_loses = replacement;
    steps_.emplace_back(Replace{replacement, " "});
  } else {
    tj::Fail("the decoder \"{}\" is not implemented", type);
  }
}

std::string Decoder::Bytes(std::string_view token) const {
  std::string text(token);
  bool is_byte = false;  // a byte is no character of text any more
  for (const auto& step : steps_) {
    if (is_byte) break;
    if (const auto* replace = std::get_if<Replace>(&step)) {
      if (replace->text.empty()) continue;
      for (size_t at = text.find(replace->text); at != std::string::npos;
           at = text.find(replace->text, at + replace->content.size())) {
        text.replace(at, replace->text.size(), replace->content);
      }
    } else if (const auto* strip = std::get_if<Strip>(&step)) {
      if (strip->text.empty()) continue;
      for (int64_t i = 0; i < strip->left && text.starts_with(strip->text); ++i) text.erase(0, strip->text.size());
      for (int64_t i = 0; i < strip->right && text.ends_with(strip->text); ++i) {
        text.resize(text.size() - strip->text.size());
      }
    } else if (std::holds_alternative<ByteLevel>(step)) {
      std::string bytes;
      if (BytesOfByteLevel(text, bytes)) text = std::move(bytes);
    } else if (const int byte = ByteOfHexToken(text); byte >= 0) {
      text.assign(1, static_cast<char>(byte));
      is_byte = true;
    }
  }
  return text;
}

}  // namespace gannet
