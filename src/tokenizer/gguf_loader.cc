// The tokenizer in a GGUF file's metadata (GGUF specification, "tokenizer"): byte-level BPE ("gpt2") and
// SentencePiece BPE ("llama").
#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "tokenizer/json_reading.h"
#include "tokenizer/parts.h"
#include "tokenizer/tokenizer.h"

namespace gannet {
namespace {

namespace tj = tokenizer_json;

enum TokenType { kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4, kUnused = 5, kByte = 6 };

constexpr std::string_view kWhere = "the GGUF metadata";
constexpr std::string_view kMetaspaceMark = "\u2581";
constexpr size_t kMaxSentencePiece = 512;  // bytes; every way to cut one is tried

// What the names of tokenizer.ggml.pre stand for. Expressions and NFC as in the families' tokenizer.json; NFC is not
// done by llama.cpp.
struct PreTokenizerName {
  std::string_view name;
  std::vector<std::string_view> regexes;  // one inside the pieces of the other
  bool single_digits = false;             // before them
  bool ignore_merges = false;
  bool nfc = false;
  bool add_bos = false;  // where the file does not say
};
const PreTokenizerName& FindPreTokenizer(std::string_view name) {
  static const std::vector<PreTokenizerName> known = {
      {.name = "gpt-2", .regexes = {kGpt2Regex}},
      {.name = "smollm", .regexes = {kGpt2Regex}, .single_digits = true},
      {.name = "llama-bpe", .regexes = {kLlama3Regex}, .ignore_merges = true, .add_bos = true},
      {.name = "qwen2", .regexes = {kQwen2Regex}, .nfc = true},
      {.name = "deepseek-v3", .regexes = {kDeepseekNumbers, kDeepseekKanaHan, kDeepseekWords}},
      {.name = "glm4", .regexes = {kLlama3Regex}},
      {.name = "gpt-4o", .regexes = {kGpt4oRegex}},
  };
  for (const PreTokenizerName& candidate : known) {
    if (candidate.name == name) return candidate;
  }
  std::string names;
  for (const PreTokenizerName& candidate : known) {
    names += names.empty() ? "" : ", ";
    names += candidate.name;
  }
  tj::Fail("tokenizer.ggml.pre is \"{}\", which is not implemented (known: {})", name, names);
}

std::vector<std::string> ReadTokens(const Json& metadata) {
  const Json::Array& list = tj::Array(metadata, "tokenizer.ggml.tokens", kWhere);
  if (list.empty() || static_cast<int64_t>(list.size()) > kMaxVocabSize) {
    tj::Fail("tokenizer.ggml.tokens has {} entries; 1 to {} are possible", list.size(), kMaxVocabSize);
  }
  std::vector<std::string> tokens;
  tokens.reserve(list.size());
  for (const Json& token : list) {
    if (!token.is_string()) tj::Fail("tokenizer.ggml.tokens has an entry that is no string at {}", tokens.size());
    tokens.push_back(token.as_string());
    if (!IsValidUtf8(tokens.back())) tj::Fail("tokenizer.ggml.tokens has ill-formed UTF-8 at {}", tokens.size() - 1);
  }
  return tokens;
}

std::vector<int> ReadTypes(const Json& metadata, size_t count) {
  std::vector<int> types(count, kNormal);
  if (!tj::Get(metadata, "tokenizer.ggml.token_type")) return types;
  const Json::Array& list = tj::Array(metadata, "tokenizer.ggml.token_type", kWhere);
  if (list.size() != count) tj::Fail("tokenizer.ggml.token_type has {} entries for {} tokens", list.size(), count);
  for (size_t i = 0; i < count; ++i) {
    const std::optional<int64_t> type = list[i].as_int();
    if (!type || *type < kNormal || *type > kByte) tj::Fail("tokenizer.ggml.token_type is not 1 to 6 at {}", i);
    types[i] = static_cast<int>(*type);
  }
  return types;
}

std::vector<BpeMerge> ReadMerges(const Json& metadata, const TokenizerParts& parts) {
  std::vector<BpeMerge> merges;
  const Json::Array& list = tj::Array(metadata, "tokenizer.ggml.merges", kWhere);
  for (size_t i = 0; i < list.size(); ++i) {
    const std::string_view both = list[i].is_string() ? std::string_view(list[i].as_string()) : std::string_view();
    const size_t space = both.find(' ');
    if (space == 0 || space >= both.size() - 1 || both.find(' ', space + 1) != std::string_view::npos) {
      tj::Fail("tokenizer.ggml.merges is not \"a b\" at {}", i);
    }
    const std::string_view left = both.substr(0, space), right = both.substr(space + 1);
    const auto id_of = [&](std::string_view text) {
      const int32_t id = parts.by_text.Find(text);
      if (id < 0) tj::Fail("tokenizer.ggml.merges needs the token \"{}\" at {}, which is not there", text, i);
      return id;
    };
    merges.push_back({id_of(left), id_of(right), id_of(std::string(left).append(right)), static_cast<uint32_t>(i)});
  }
  return merges;
}

// Every cut of every piece in two pieces is a merge; the better the score of the whole, the earlier.
std::vector<BpeMerge> MergesOfScores(const Json& metadata, const std::vector<int>& types, const TokenizerParts& parts) {
  const Json::Array& list = tj::Array(metadata, "tokenizer.ggml.scores", kWhere);
  if (list.size() != types.size()) {
    tj::Fail("tokenizer.ggml.scores has {} entries for {} tokens", list.size(), types.size());
  }
  std::vector<double> scores(list.size());
  for (size_t i = 0; i < list.size(); ++i) {
    if (!list[i].is_number() || std::isnan(list[i].as_double())) {
      tj::Fail("tokenizer.ggml.scores has no number at {}", i);
    }
    scores[i] = list[i].as_double();
  }
  std::vector<int32_t> order(scores.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    return scores[static_cast<size_t>(a)] > scores[static_cast<size_t>(b)];
  });
  const auto may_merge = [&](int32_t id) {
    const int type = types[static_cast<size_t>(id)];
    return type == kNormal || type == kUserDefined || type == kUnused;
  };
  std::vector<BpeMerge> merges;
  uint32_t rank = 0;
  for (size_t i = 0; i < order.size(); ++i) {
    const int32_t id = order[i];
    if (i > 0 && scores[static_cast<size_t>(id)] != scores[static_cast<size_t>(order[i - 1])]) ++rank;
    if (!may_merge(id)) continue;
    const std::string_view text = parts.texts[id];
    if (text.size() > kMaxSentencePiece) {
      tj::Fail("token {} is longer than {} bytes, which is not implemented", id, kMaxSentencePiece);
    }
    for (size_t cut = 1; cut < text.size(); ++cut) {
      if ((static_cast<unsigned char>(text[cut]) & 0xc0) == 0x80) continue;
      const int32_t left = parts.by_text.Find(text.substr(0, cut));
      const int32_t right = left < 0 ? -1 : parts.by_text.Find(text.substr(cut));
      if (right >= 0 && may_merge(left) && may_merge(right)) merges.push_back({left, right, id, rank});
    }
  }
  return merges;
}

std::optional<int32_t> ReadId(const Json& metadata, std::string_view name, int64_t count) {
  const std::string key = fmt::format("tokenizer.ggml.{}_token_id", name);
  if (!tj::Get(metadata, key)) return std::nullopt;
  return static_cast<int32_t>(tj::Int(metadata, key, 0, count - 1, kWhere));
}

std::string BytesOf(std::string_view text, int type, bool byte_level) {
  std::string bytes;
  if (type == kByte && ByteOfHexToken(text) >= 0) return std::string(1, static_cast<char>(ByteOfHexToken(text)));
  if (type == kControl || type == kUserDefined || type == kUnknown) return std::string(text);
  if (byte_level) return BytesOfByteLevel(text, bytes) ? bytes : std::string(text);
  for (size_t i = 0; i < text.size();) {
    const bool mark = text.substr(i).starts_with(kMetaspaceMark);
    bytes += mark ? ' ' : text[i];
    i += mark ? kMetaspaceMark.size() : 1;
  }
  return bytes;
}

}  // namespace

std::shared_ptr<const Tokenizer> Tokenizer::FromGguf(const Json& metadata) {
  const std::string& model = tj::String(metadata, "tokenizer.ggml.model", kWhere);
  const bool byte_level = model == "gpt2";
  if (!byte_level && model != "llama") {
    tj::Fail("tokenizer.ggml.model is \"{}\", which is not implemented (known: gpt2, llama)", model);
  }
  auto parts = std::make_unique<TokenizerParts>();
  parts->SetTexts(ReadTokens(metadata));
  const int64_t count = parts->texts.size();
  const std::vector<int> types = ReadTypes(metadata, static_cast<size_t>(count));
  parts->bos = ReadId(metadata, "bos", count);
  parts->eos = ReadId(metadata, "eos", count);
  parts->pad = ReadId(metadata, "padding", count);
  parts->unk = ReadId(metadata, "unknown", count);
  for (const auto& id : {parts->eos, ReadId(metadata, "eot", count), ReadId(metadata, "eom", count)}) {
    if (id) parts->end_ids.push_back(*id);
  }
  std::sort(parts->end_ids.begin(), parts->end_ids.end());
  parts->end_ids.erase(std::unique(parts->end_ids.begin(), parts->end_ids.end()), parts->end_ids.end());

  std::vector<int32_t> words;
  for (int32_t id = 0; id < count; ++id) {
    const int type = types[static_cast<size_t>(id)];
    const bool special = type == kControl || type == kUnknown;
    parts->is_special[static_cast<size_t>(id)] = special;
    if (!special) words.push_back(id);
    if (special || type == kUserDefined) {
      parts->added.Add({.content = std::string(parts->texts[id]), .id = id, .special = special});
    }
    parts->bytes.Add(BytesOf(parts->texts[id], type, byte_level));
  }

  BpeOptions options;
  options.byte_level = byte_level;
  bool add_bos = true;
  if (byte_level) {
    const PreTokenizerName& pre = FindPreTokenizer(tj::String(metadata, "tokenizer.ggml.pre", kWhere));
    std::vector<PreTokenizer::Stage> stages;
    if (pre.single_digits) stages.emplace_back(PreTokenizer::Split{.classes = kNumber});
    for (const std::string_view regex : pre.regexes) {
      stages.emplace_back(PreTokenizer::Split{.scanner = FindKnownRegex(regex)->scanner});
    }
    parts->pre_tokenizer = PreTokenizer(std::move(stages));
    if (pre.nfc) {
      std::vector<Normalizer::Step> steps;
      steps.emplace_back(UnicodeForm::kNfc);
      parts->normalizer = Normalizer(std::move(steps));
    }
    options.ignore_merges = pre.ignore_merges;
    add_bos = pre.add_bos;
    parts->bpe = std::make_unique<Bpe>(parts->texts, words, ReadMerges(metadata, *parts), options);
  } else {
    if (tj::Bool(metadata, "tokenizer.ggml.remove_extra_whitespaces", false, kWhere)) {
      tj::Fail("tokenizer.ggml.remove_extra_whitespaces is not implemented");
    }
    std::vector<Normalizer::Step> steps;
    if (tj::Bool(metadata, "tokenizer.ggml.add_space_prefix", true, kWhere)) {
      steps.emplace_back(Normalizer::Prepend{std::string(kMetaspaceMark)});
      parts->strip_left = 1;
    }
    steps.emplace_back(Normalizer::Replace{" ", {}, std::string(kMetaspaceMark)});
    parts->normalizer = Normalizer(std::move(steps));
    options.byte_fallback = true;
    options.unk = parts->unk.value_or(-1);
    parts->bpe = std::make_unique<Bpe>(parts->texts, words, MergesOfScores(metadata, types, *parts), options);
  }
  if (tj::Bool(metadata, "tokenizer.ggml.add_bos_token", add_bos, kWhere) && parts->bos) {
    parts->prefix.push_back(*parts->bos);
  }
  if (tj::Bool(metadata, "tokenizer.ggml.add_eos_token", false, kWhere) && parts->eos) {
    parts->suffix.push_back(*parts->eos);
  }
  return std::make_shared<Tokenizer>(std::move(parts));
}

}  // namespace gannet
