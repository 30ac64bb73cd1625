// Any bytes as tokenizer.json, then as text and as ids of a tokenizer that loads.
#include "tokenizer/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t cut = input.find('\xff');
  const std::string_view json = input.substr(0, cut);
  const std::string_view text = cut == std::string_view::npos ? input : input.substr(cut + 1);
  const auto use = [&](const gannet::Tokenizer& tokenizer) {
    const std::vector<gannet::TokenId> ids = tokenizer.Encode(text);
    tokenizer.Decode(ids, true);
  };
  try {
    use(*gannet::Tokenizer::FromTokenizerJson(json, nullptr));
  } catch (const gannet::LoadError&) {
  }
  try {
    gannet::Result<gannet::Json> metadata = gannet::Json::Parse(json);
    if (metadata.ok()) use(*gannet::Tokenizer::FromGguf(*metadata));
  } catch (const gannet::LoadError&) {
  }
  return 0;
}
