// tokenizer.json, as HF tokenizers 0.23 writes and reads it, and the parts of tokenizer_config.json that matter here.
#include <algorithm>
#include <charconv>
#include <unordered_map>

#include "tokenizer/decoder.h"
#include "tokenizer/json_reading.h"
#include "tokenizer/parts.h"
#include "tokenizer/tokenizer.h"

namespace gannet {
namespace {

namespace tj = tokenizer_json;

AddedToken ReadAddedToken(const Json& json, int64_t id) {
  const std::string where = fmt::format("added token {}", id);
  AddedToken token;
  token.content = tj::String(json, "content", where);
  token.id = static_cast<int32_t>(id);
  token.special = tj::Bool(json, "special", false, where);
  token.single_word = tj::Bool(json, "single_word", false, where);
  token.lstrip = tj::Bool(json, "lstrip", false, where);
  token.rstrip = tj::Bool(json, "rstrip", false, where);
  token.normalized = tj::Bool(json, "normalized", !token.special, where);
  return token;
}

std::vector<AddedToken> ReadAddedTokens(const Json& root, const Json* config) {
  std::vector<AddedToken> tokens;
  if (tj::Get(root, "added_tokens")) {
    for (const Json& json : tj::Array(root, "added_tokens", "tokenizer.json")) {
      tokens.push_back(ReadAddedToken(json, tj::Int(json, "id", 0, kMaxVocabSize - 1, "an added token")));
    }
  }
  const Json* decoder = config ? tj::Get(*config, "added_tokens_decoder") : nullptr;
  if (!decoder) return tokens;
  if (!decoder->is_object()) tj::Fail("tokenizer_config.json: \"added_tokens_decoder\" is no object");
  for (const Json::Member& member : decoder->as_object()) {
    int64_t id = -1;
    const char* end = member.key.data() + member.key.size();
    const auto [stop, error] = std::from_chars(member.key.data(), end, id);
    if (error != std::errc() || stop != end || id < 0 || id >= kMaxVocabSize) {
      tj::Fail("tokenizer_config.json: added_tokens_decoder has the key \"{}\", which is no token id", member.key);
    }
    AddedToken token = ReadAddedToken(member.value, id);
    const auto same = [&](const AddedToken& other) { return other.content == token.content; };
    if (std::none_of(tokens.begin(), tokens.end(), same)) tokens.push_back(std::move(token));
  }
  return tokens;
}

// The spelling of every id; checks that model and added tokens agree.
std::vector<std::string> ReadTexts(const Json& vocab, const std::vector<AddedToken>& added) {
  std::vector<std::string> texts;
  const auto put = [&](int64_t id, const std::string& text) {
    if (id >= static_cast<int64_t>(texts.size())) texts.resize(static_cast<size_t>(id + 1));
    std::string& place = texts[static_cast<size_t>(id)];
    if (!place.empty() && place != text) tj::Fail("token id {} is both \"{}\" and \"{}\"", id, place, text);
    place = text;
  };
  std::unordered_map<std::string_view, int64_t> ids;
  for (const Json::Member& member : vocab.as_object()) {
    const std::optional<int64_t> id = member.value.as_int();
    if (!id || *id < 0 || *id >= kMaxVocabSize) {
      tj::Fail("the vocabulary's token \"{}\" has no id in 0..{}", member.key, kMaxVocabSize - 1);
    }
    put(*id, member.key);
    ids[member.key] = *id;
  }
  for (const AddedToken& token : added) {
    const auto [it, is_new] = ids.try_emplace(token.content, token.id);
    if (!is_new && it->second != token.id) {
      tj::Fail("the added token \"{}\" has id {}, but the vocabulary says {}", token.content, token.id, it->second);
    }
    put(token.id, token.content);
  }
  return texts;
}

std::vector<BpeMerge> ReadMerges(const Json& model, const TokenizerParts& parts) {
  std::vector<BpeMerge> merges;
  const Json::Array& list = tj::Array(model, "merges", "the model");
  merges.reserve(list.size());
  for (size_t i = 0; i < list.size(); ++i) {
    std::string_view left, right;
    if (list[i].is_string()) {
      const std::string_view both = list[i].as_string();
      const size_t space = both.find(' ');
      if (space != std::string_view::npos && both.find(' ', space + 1) == std::string_view::npos) {
        left = both.substr(0, space);
        right = both.substr(space + 1);
      }
    } else if (list[i].is_array() && list[i].as_array().size() == 2 && list[i].as_array()[0].is_string() &&
               list[i].as_array()[1].is_string()) {
      left = list[i].as_array()[0].as_string();
      right = list[i].as_array()[1].as_string();
    }
    if (left.empty() || right.empty()) tj::Fail("merge {} is neither \"a b\" nor [\"a\", \"b\"]", i);
    const auto id_of = [&](std::string_view text) {
      const int32_t id = parts.by_text.Find(text);
      if (id < 0) tj::Fail("merge {} needs the token \"{}\", which the vocabulary does not have", i, text);
      return id;
    };
    merges.push_back({id_of(left), id_of(right), id_of(std::string(left).append(right)), static_cast<uint32_t>(i)});
  }
  return merges;
}

void ReadModel(const Json& model, TokenizerParts& parts) {
  BpeOptions options;
  options.byte_level = parts.pre_tokenizer.byte_level();
  options.byte_fallback = tj::Bool(model, "byte_fallback", false, "the model");
  options.fuse_unk = tj::Bool(model, "fuse_unk", false, "the model");
  options.ignore_merges = tj::Bool(model, "ignore_merges", false, "the model");
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    if (tj::Get(model, key) && !tj::String(model, key, "the model").empty()) {
      tj::Fail("the model's \"{}\" is not implemented", key);
    }
  }
  if (const Json* dropout = tj::Get(model, "dropout");
      dropout && !(dropout->is_number() && dropout->as_double() == 0)) {
    tj::Fail("the model's \"dropout\" is not implemented");
  }
  if (tj::Get(model, "unk_token")) {
    const std::string& unk = tj::String(model, "unk_token", "the model");
    options.unk = parts.by_text.Find(unk);
    if (options.unk < 0) tj::Fail("the model's unk_token \"{}\" is not in the vocabulary", unk);
    parts.unk = options.unk;
  }
  std::vector<int32_t> words;
  for (const Json::Member& member : model.Find("vocab")->as_object()) {
    words.push_back(static_cast<int32_t>(*member.value.as_int()));
  }
  parts.bpe = std::make_unique<Bpe>(parts.texts, words, ReadMerges(model, parts), options);
}

void ReadPostProcessor(const Json& json, TokenizerParts& parts) {
  const std::string& type = tj::String(json, "type", "a post-processor");
  const std::string where = "post_processor " + type;
  std::vector<int32_t> before, after;
  if (type == "Sequence") {
    for (const Json& part : tj::Array(json, "processors", where)) ReadPostProcessor(part, parts);
  } else if (type == "TemplateProcessing") {
    const Json* tokens = tj::Get(json, "special_tokens");
    int sequences = 0;
    for (const Json& piece : tj::Array(json, "single", where)) {
      if (tj::Get(piece, "Sequence")) {
        ++sequences;
        continue;
      }
      const Json* special = tj::Get(piece, "SpecialToken");
      if (!special) tj::Fail("{}: \"single\" has neither Sequence nor SpecialToken", where);
      const std::string& name = tj::String(*special, "id", where);
      const Json* entry = tokens ? tj::Get(*tokens, name) : nullptr;
      if (!entry) tj::Fail("{}: \"{}\" is not among its special_tokens", where, name);
      for (const Json& id : tj::Array(*entry, "ids", where)) {
        const std::optional<int64_t> number = id.as_int();
        if (!number || *number < 0 || *number >= parts.texts.size()) tj::Fail("{}: \"{}\" has a wrong id", where, name);
        (sequences ? after : before).push_back(static_cast<int32_t>(*number));
      }
    }
    if (sequences != 1) tj::Fail("{}: \"single\" has {} sequences instead of one", where, sequences);
  } else if (type == "BertProcessing" || type == "RobertaProcessing") {
    for (const char* key : {"cls", "sep"}) {
      const Json::Array& pair = tj::Array(json, key, where);
      const std::optional<int64_t> id = pair.size() == 2 ? pair[1].as_int() : std::nullopt;
      if (!id || *id < 0 || *id >= parts.texts.size()) tj::Fail("{}: \"{}\" has a wrong id", where, key);
      (key[0] == 'c' ? before : after).push_back(static_cast<int32_t>(*id));
    }
  } else if (type != "ByteLevel") {
    tj::Fail("the post-processor \"{}\" is not implemented", type);
  }
  parts.prefix.insert(parts.prefix.begin(), before.begin(), before.end());
  parts.suffix.insert(parts.suffix.end(), after.begin(), after.end());
}

// The token that tokenizer_config.json names, if the vocabulary has it.
std::optional<int32_t> ReadNamed(const Json* config, const char* key, const TokenizerParts& parts) {
  const Json* value = config ? tj::Get(*config, key) : nullptr;
  if (value && value->is_object()) value = tj::Get(*value, "content");
  if (!value || !value->is_string() || value->as_string().empty()) return std::nullopt;
  const int32_t id = parts.by_text.Find(value->as_string());
  return id >= 0 ? std::optional(id) : std::nullopt;
}

// add_bos_token and add_eos_token, where given, have the last word.
void ApplyConfig(const Json& config, TokenizerParts& parts) {
  if (tj::Get(config, "add_bos_token") && parts.bos) {
    const bool wanted = tj::Bool(config, "add_bos_token", false, "tokenizer_config.json");
    const bool there = !parts.prefix.empty() && parts.prefix.front() == *parts.bos;
    if (wanted && !there) parts.prefix.insert(parts.prefix.begin(), *parts.bos);
    if (!wanted && there) parts.prefix.erase(parts.prefix.begin());
  }
  if (tj::Get(config, "add_eos_token") && parts.eos) {
    const bool wanted = tj::Bool(config, "add_eos_token", false, "tokenizer_config.json");
    const bool there = !parts.suffix.empty() && parts.suffix.back() == *parts.eos;
    if (wanted && !there) parts.suffix.push_back(*parts.eos);
    if (!wanted && there) parts.suffix.pop_back();
  }
}

}  // namespace

std::shared_ptr<const Tokenizer> Tokenizer::FromTokenizerJson(std::string_view json_text, const Json* config) {
  Result<Json> parsed = Json::Parse(json_text);
  if (!parsed.ok()) tj::Fail("tokenizer.json: {}", parsed.error().message);
  const Json& root = *parsed;
  const Json* model = tj::Get(root, "model");
  if (!model || !model->is_object()) tj::Fail("tokenizer.json needs \"model\", an object");
  if (tj::Get(*model, "type") && tj::String(*model, "type", "the model") != "BPE") {
    tj::Fail("the model \"{}\" is not implemented", tj::String(*model, "type", "the model"));
  }
  const Json* vocab = tj::Get(*model, "vocab");
  if (!vocab || !vocab->is_object()) tj::Fail("the model needs \"vocab\", an object");
  if (config && !config->is_object()) tj::Fail("tokenizer_config.json is no object");

  auto parts = std::make_unique<TokenizerParts>();
  std::vector<AddedToken> added = ReadAddedTokens(root, config);
  parts->SetTexts(ReadTexts(*vocab, added));
  parts->normalizer = Normalizer::Parse(root.Find("normalizer"));
  parts->pre_tokenizer = PreTokenizer::Parse(root.Find("pre_tokenizer"));
  ReadModel(*model, *parts);
  if (const Json* post = tj::Get(root, "post_processor")) ReadPostProcessor(*post, *parts);

  parts->bos = ReadNamed(config, "bos_token", *parts);
  parts->eos = ReadNamed(config, "eos_token", *parts);
  parts->pad = ReadNamed(config, "pad_token", *parts);
  if (const std::optional<int32_t> unk = ReadNamed(config, "unk_token", *parts)) parts->unk = unk;
  if (parts->eos) parts->end_ids = {*parts->eos};
  if (config) ApplyConfig(*config, *parts);
  // A token that the configuration names is special, wherever it comes from.
  for (const std::optional<int32_t>& named :
       {parts->bos, parts->eos, parts->pad, ReadNamed(config, "unk_token", *parts)}) {
    const auto same = [&](const AddedToken& token) { return token.id == *named; };
    if (!named || std::any_of(added.begin(), added.end(), same)) continue;
    added.push_back({.content = std::string(parts->texts[*named]), .id = *named, .special = true});
  }

  std::string buffer;
  std::unordered_map<int64_t, std::string> found_as;  // these decode to what they were found as
  for (AddedToken& token : added) {
    parts->is_special[static_cast<size_t>(token.id)] = token.special;
    if (token.normalized) {
      token.content = std::string(parts->normalizer.Apply(token.content, buffer));
      found_as[token.id] = token.content;
      parts->added_normalized.Add(std::move(token));
    } else {
      parts->added.Add(std::move(token));
    }
  }
  const Decoder decoder = Decoder::Parse(root.Find("decoder"));
  for (int64_t id = 0; id < parts->texts.size(); ++id) {
    const auto found = found_as.find(id);
    parts->bytes.Add(decoder.Bytes(found != found_as.end() ? std::string_view(found->second) : parts->texts[id]));
  }
  parts->first_loses = decoder.first_loses;
  parts->strip_left = decoder.strip_left;
  parts->strip_char = decoder.strip_char;
  return std::make_shared<Tokenizer>(std::move(parts));
}

}  // namespace gannet
