// Text to token ids and back: byte-level BPE and SentencePiece-style BPE, from tokenizer.json or GGUF metadata. Equal
// ids to HF tokenizers is the definition; what this room does not implement is refused by name at load.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "tokenizer/unicode.h"

namespace gannet {

using TokenId = int32_t;

struct TokenizerParts;  // tokenizer/parts.h

struct EncodeOptions {
  bool add_special = true;    // BOS and EOS, as the model's post-processor or add_bos_token / add_eos_token say
  bool parse_special = true;  // special tokens inside the text become their ids; false: they are plain text
};

// Immutable; every method may be called from any thread.
class Tokenizer {
 public:
  // `json_text`: a tokenizer.json; `tokenizer_config`: the parsed tokenizer_config.json, or null. Throws
  // LoadError("tokenizer", ...) naming the component that is missing, wrong or not implemented.
  static std::shared_ptr<const Tokenizer> FromTokenizerJson(std::string_view json_text, const Json* tokenizer_config);
  // `metadata`: an object with the GGUF keys as members ("tokenizer.ggml.model", ...), arrays included. Throws as
  // above.
  static std::shared_ptr<const Tokenizer> FromGguf(const Json& metadata);
  explicit Tokenizer(std::unique_ptr<const TokenizerParts> parts);
  ~Tokenizer();

  // Never fails: ill-formed UTF-8 is read as U+FFFD. `text` is below 2 GiB.
  std::vector<TokenId> Encode(std::string_view text, const EncodeOptions& options = {}) const;
  // Valid UTF-8 whatever the ids; ids outside the vocabulary are nothing. A maximal ill-formed part is one U+FFFD.
  std::string Decode(std::span<const TokenId> ids, bool skip_special = false) const;

  int64_t vocab_size() const;  // every id is below this; there may be holes
  std::string_view TokenBytes(
      TokenId id) const;  // what the token contributes to decoded text; may be part of a character
  std::string_view TokenText(TokenId id) const;  // as the vocabulary spells it ("Ġthe", "▁the", "<0x0A>")
  std::optional<TokenId> Find(std::string_view token) const;  // by that spelling
  bool IsSpecial(TokenId id) const;

  std::optional<TokenId> bos() const;
  std::optional<TokenId> eos() const;
  std::optional<TokenId> unk() const;
  std::optional<TokenId> pad() const;
  // Ids that end a turn: eos, and what GGUF calls eot and eom. Sorted, without repeats.
  std::vector<TokenId> EndIds() const;

 private:
  friend class StreamDetokenizer;
  std::unique_ptr<const TokenizerParts> parts_;
};

// Decodes as tokens come. Never gives out half a character; all that Push and Finish return, joined, is what Decode
// returns for the same ids.
class StreamDetokenizer {
 public:
  StreamDetokenizer(std::shared_ptr<const Tokenizer> tokenizer, bool skip_special);
  std::string Push(TokenId id);
  std::string Finish();  // what was held back; then ready for another text

 private:
  friend class Tokenizer;
  StreamDetokenizer(const TokenizerParts& parts, bool skip_special);
  void Append(TokenId id, std::string& out);

  std::shared_ptr<const Tokenizer> owner_;
  const TokenizerParts* parts_;
  bool skip_special_;
  bool first_ = true;
  int strip_left_;  // leading bytes that may still be stripped
  Utf8Repair repair_;
};

}  // namespace gannet
