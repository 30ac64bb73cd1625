#include "tokenizer/tokenizer.h"

#include <algorithm>

#include "tokenizer/parts.h"

namespace gannet {

Tokenizer::Tokenizer(std::unique_ptr<const TokenizerParts> parts) : parts_(std::move(parts)) {}
Tokenizer::~Tokenizer() = default;

std::vector<TokenId> Tokenizer::Encode(std::string_view text, const EncodeOptions& options) const {
  const TokenizerParts& parts = *parts_;
  std::string repaired;
  if (!IsValidUtf8(text)) text = repaired = RepairUtf8(text);

  std::vector<TokenId> ids;
  ids.reserve(parts.prefix.size() + parts.suffix.size() + text.size() / 3);
  if (options.add_special) ids = parts.prefix;

  // Calls part(text) for what lies between the tokens found.
  const auto split = [&](const AddedTokens& added, std::string_view whole, auto part) {
    size_t at = 0;
    AddedTokens::Match match{};
    while (!added.empty() && added.FindNext(whole, at, !options.parse_special, match)) {
      if (match.begin > at) part(whole.substr(at, match.begin - at));
      ids.push_back(match.id);
      at = match.end;
    }
    if (at < whole.size()) part(whole.substr(at));
  };
  std::string buffer;
  split(parts.added, text, [&](std::string_view raw) {
    const std::string_view normalized = parts.normalizer.Apply(raw, buffer);
    const bool raw_at_start = raw.data() == text.data();
    split(parts.added_normalized, normalized, [&](std::string_view piece) {
      const bool at_start = raw_at_start && piece.data() == normalized.data();
      parts.pre_tokenizer.ForEachWord(piece, at_start, [&](std::string_view word) { parts.bpe->Encode(word, ids); });
    });
  });

  if (options.add_special) ids.insert(ids.end(), parts.suffix.begin(), parts.suffix.end());
  return ids;
}

std::string Tokenizer::Decode(std::span<const TokenId> ids, bool skip_special) const {
  StreamDetokenizer stream(*parts_, skip_special);
  std::string out;
  for (const TokenId id : ids) stream.Append(id, out);
  stream.repair_.Finish(out);
  return out;
}

int64_t Tokenizer::vocab_size() const { return parts_->texts.size(); }

std::string_view Tokenizer::TokenBytes(TokenId id) const {
  return id >= 0 && id < vocab_size() ? parts_->bytes[id] : std::string_view();
}

std::string_view Tokenizer::TokenText(TokenId id) const {
  return id >= 0 && id < vocab_size() ? parts_->texts[id] : std::string_view();
}

std::optional<TokenId> Tokenizer::Find(std::string_view token) const {
  const TokenId id = token.empty() ? -1 : parts_->by_text.Find(token);
  return id >= 0 ? std::optional(id) : std::nullopt;
}

bool Tokenizer::IsSpecial(TokenId id) const {
  return id >= 0 && id < vocab_size() && parts_->is_special[static_cast<size_t>(id)];
}

std::optional<TokenId> Tokenizer::bos() const { return parts_->bos; }
std::optional<TokenId> Tokenizer::eos() const { return parts_->eos; }
std::optional<TokenId> Tokenizer::unk() const { return parts_->unk; }
std::optional<TokenId> Tokenizer::pad() const { return parts_->pad; }
std::vector<TokenId> Tokenizer::EndIds() const { return parts_->end_ids; }

StreamDetokenizer::StreamDetokenizer(std::shared_ptr<const Tokenizer> tokenizer, bool skip_special)
    : StreamDetokenizer(*tokenizer->parts_, skip_special) {
  owner_ = std::move(tokenizer);
}

StreamDetokenizer::StreamDetokenizer(const TokenizerParts& parts, bool skip_special)
    : parts_(&parts), skip_special_(skip_special), strip_left_(parts.strip_left) {}

void StreamDetokenizer::Append(TokenId id, std::string& out) {
  if (id < 0 || id >= parts_->texts.size()) return;
  if (skip_special_ && parts_->is_special[static_cast<size_t>(id)]) return;
  std::string_view bytes = parts_->bytes[id];
  std::string without;
  if (first_ && !parts_->first_loses.empty()) {
    const std::string_view text = parts_->texts[id];
    const std::string_view lost = parts_->first_loses;
    for (size_t i = 0; i < text.size();) {
      if (text.substr(i).starts_with(lost)) {
        i += lost.size();
      } else {
        without += text[i++];
      }
    }
    bytes = without;
  }
  first_ = false;
  while (strip_left_ > 0 && !bytes.empty()) {
    if (bytes.front() != parts_->strip_char) {
      strip_left_ = 0;
    } else {
      bytes.remove_prefix(1);
      --strip_left_;
    }
  }
  repair_.Push(bytes, out);
}

std::string StreamDetokenizer::Push(TokenId id) {
  std::string out;
  Append(id, out);
  return out;
}

std::string StreamDetokenizer::Finish() {
  std::string out;
  repair_.Finish(out);
  first_ = true;
  strip_left_ = parts_->strip_left;
  return out;
}

}  // namespace gannet
