#include "tokenizer/added_tokens.h"

#include <algorithm>

#include "tokenizer/unicode.h"

namespace gannet {
namespace {

// The position of the character that ends at `at` > 0.
size_t Previous(std::string_view text, size_t at) {
  do {
    --at;
  } while ((static_cast<unsigned char>(text[at]) & 0xc0) == 0x80);
  return at;
}

uint16_t ClassAt(std::string_view text, size_t at) { return CharTable::Get()[DecodeUtf8(text.data() + at)]; }

}  // namespace

void AddedTokens::Add(AddedToken token) {
  if (token.content.empty()) return;
  size_t node = 0;
  for (const char c : token.content) {
    const auto byte = static_cast<unsigned char>(c);
    auto& next = nodes_[node].next;
    const auto it = std::find_if(next.begin(), next.end(), [&](const auto& edge) { return edge.first == byte; });
    if (it != next.end()) {
      node = static_cast<size_t>(it->second);
    } else {
      next.emplace_back(byte, static_cast<int32_t>(nodes_.size()));
      node = nodes_.size();
      nodes_.emplace_back();
    }
  }
  starts_[static_cast<unsigned char>(token.content[0])] = true;
  nodes_[node].token = static_cast<int32_t>(tokens_.size());
  tokens_.push_back(std::move(token));
}

int32_t AddedTokens::LongestAt(std::string_view text, size_t at) const {
  int32_t longest = -1;
  size_t node = 0;
  while (at < text.size()) {
    const auto byte = static_cast<unsigned char>(text[at++]);
    const auto& next = nodes_[node].next;
    const auto it = std::find_if(next.begin(), next.end(), [&](const auto& edge) { return edge.first == byte; });
    if (it == next.end()) break;
    node = static_cast<size_t>(it->second);
    if (nodes_[node].token >= 0) longest = nodes_[node].token;
  }
  return longest;
}

bool AddedTokens::FindNext(std::string_view text, size_t from, bool skip_special, Match& match) const {
  for (size_t at = from; at < text.size();) {
    if (!starts_[static_cast<unsigned char>(text[at])]) {
      ++at;
      continue;
    }
    const int32_t found = LongestAt(text, at);
    if (found < 0) {
      ++at;
      continue;
    }
    const AddedToken& token = tokens_[static_cast<size_t>(found)];
    size_t begin = at, end = at + token.content.size();
    at = end;
    if (skip_special && token.special) continue;
    if (token.single_word && ((begin > 0 && (ClassAt(text, Previous(text, begin)) & kWord)) ||
                              (end < text.size() && (ClassAt(text, end) & kWord)))) {
      continue;
    }
    while (token.lstrip && begin > from && (ClassAt(text, Previous(text, begin)) & kSpace)) {
      begin = Previous(text, begin);
    }
    while (token.rstrip && end < text.size() && (ClassAt(text, end) & kSpace)) {
      end += static_cast<size_t>(Utf8Length(text[end]));
    }
    match = {begin, end, token.id};
    return true;
  }
  return false;
}

}  // namespace gannet
