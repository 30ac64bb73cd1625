// What a Tokenizer is made of; filled by json_loader.cc and gguf_loader.cc.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tokenizer/added_tokens.h"
#include "tokenizer/bpe.h"
#include "tokenizer/normalizer.h"
#include "tokenizer/pre_tokenizer.h"
#include "tokenizer/token_table.h"

namespace gannet {

constexpr int64_t kMaxVocabSize = int64_t{1} << 24;

struct TokenizerParts {
  TokenizerParts() = default;
  TokenizerParts(const TokenizerParts&) = delete;  // by_text points into texts
  TokenizerParts& operator=(const TokenizerParts&) = delete;

  // Takes the spelling of every id and the ids' text; empty strings are holes.
  void SetTexts(const std::vector<std::string>& spellings) {
    for (const std::string& text : spellings) texts.Add(text);
    by_text.Reset(&texts, texts.size());
    for (int32_t id = 0; id < texts.size(); ++id) {
      if (!texts[id].empty()) by_text.Insert(id);
    }
    is_special.assign(spellings.size(), false);
  }

  StringList texts;  // spelling of every id
  TokenTable by_text;
  std::vector<bool> is_special;

  AddedTokens added;  // looked for in the text as it comes
  Normalizer normalizer;
  AddedTokens added_normalized;  // looked for in the normalized text
  PreTokenizer pre_tokenizer;
  std::unique_ptr<const Bpe> bpe;
  std::vector<int32_t> prefix, suffix;  // what add_special puts around

  StringList bytes;         // what every id decodes to
  std::string first_loses;  // if not empty: decoding, the first token loses this string wherever it has it
  int strip_left = 0;       // so many of...
  char strip_char = ' ';    // ...these are stripped from the front of decoded text

  std::optional<int32_t> bos, eos, unk, pad;
  std::vector<int32_t> end_ids;  // sorted
};

}  // namespace gannet
