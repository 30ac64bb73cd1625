#include "tokenizer/bpe.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <queue>

#include "tokenizer/unicode.h"

namespace gannet {
namespace {

constexpr int kShort = 128;  // symbols; beyond, a heap and a linked list

// GPT-2's bytes_to_unicode: printable Latin-1 stands for itself, the other 68 bytes for U+0100 and up, in order.
struct ByteLevelMap {
  std::array<int16_t, 0x144> byte_of;
  ByteLevelMap() {
    byte_of.fill(-1);
    int next = 0x100;
    for (int b = 0; b < 256; ++b) {
      const bool printable = (b >= 0x21 && b <= 0x7e) || (b >= 0xa1 && b <= 0xac) || b >= 0xae;
      byte_of[static_cast<size_t>(printable ? b : next++)] = static_cast<int16_t>(b);
    }
  }
};

}  // namespace

bool BytesOfByteLevel(std::string_view text, std::string& bytes) {
  static const ByteLevelMap map;
  bytes.clear();
  for (size_t i = 0; i < text.size(); i += static_cast<size_t>(Utf8Length(text[i]))) {
    const char32_t c = DecodeUtf8(text.data() + i);
    if (c >= map.byte_of.size() || map.byte_of[c] < 0) return false;
    bytes += static_cast<char>(map.byte_of[c]);
  }
  return true;
}

int ByteOfHexToken(std::string_view text) {
  if (text.size() != 6 || text.substr(0, 3) != "<0x" || text[5] != '>') return -1;
  int value = 0;
  for (const char c : text.substr(3, 2)) {
    const int digit = c >= '0' && c <= '9'   ? c - '0'
                      : c >= 'A' && c <= 'F' ? c - 'A' + 10
                      : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                             : -1;
    if (digit < 0) return -1;
    value = value * 16 + digit;
  }
  return value;
}

Bpe::Bpe(const StringList& texts, std::span<const int32_t> words, std::span<const BpeMerge> merges,
         const BpeOptions& options)
    : options_(options), whole_(new std::atomic<uint8_t>[static_cast<size_t>(texts.size())] {}) {
  std::vector<int32_t> usable;
  std::vector<bool> is_word(static_cast<size_t>(texts.size()));
  for (const int32_t id : words) is_word[static_cast<size_t>(id)] = true;
  std::string bytes;
  for (int32_t id = 0; id < texts.size(); ++id) {
    bytes.clear();
    if (is_word[static_cast<size_t>(id)] && !texts[id].empty()) {
      if (options.byte_level) {
        if (!BytesOfByteLevel(texts[id], bytes)) bytes.clear();
      } else {
        bytes = texts[id];
      }
    }
    bytes_.Add(bytes);
    if (!bytes.empty()) usable.push_back(id);
    longest_ = std::max(longest_, bytes.size());
  }
  words_.Reset(&bytes_, static_cast<int64_t>(usable.size()));
  for (const int32_t id : usable) words_.Insert(id);

  byte_ids_.fill(-1);
  ascii_ids_.fill(-1);
  for (const int32_t id : usable) {
    const std::string_view text = bytes_[id];
    const auto first = static_cast<unsigned char>(text[0]);
    if (text.size() == 1 && first < 128) ascii_ids_[first] = id;
    if (options.byte_level && text.size() == 1) byte_ids_[first] = id;
    const int byte = options.byte_level ? -1 : ByteOfHexToken(text);
    if (byte >= 0) byte_ids_[static_cast<size_t>(byte)] = id;
  }

  const size_t slots = std::bit_ceil(std::max<size_t>(16, merges.size() * 2));
  shift_ = 64 - std::countr_zero(slots);
  pairs_.resize(slots);
  for (const BpeMerge& merge : merges) {
    const uint64_t key = uint64_t{static_cast<uint32_t>(merge.left)} << 32 | static_cast<uint32_t>(merge.right);
    size_t i = (key * 0x9E3779B97F4A7C15u) >> shift_;
    while (pairs_[i].key != UINT64_MAX && pairs_[i].key != key) i = (i + 1) & (slots - 1);
    pairs_[i] = {key, {merge.rank, merge.result}};
  }
  if (options.byte_level) {
    byte_pairs_.resize(size_t{256} * 256);
    for (size_t pair = 0; pair < byte_pairs_.size(); ++pair) {
      const int32_t left = byte_ids_[pair >> 8], right = byte_ids_[pair & 255];
      if (left >= 0 && right >= 0) byte_pairs_[pair] = FindPair(left, right);
    }
  }
}

int32_t Bpe::IdOfBytes(std::string_view bytes) const {
  const auto first = static_cast<unsigned char>(bytes[0]);
  if (bytes.size() == 1) return options_.byte_level ? byte_ids_[first] : first < 128 ? ascii_ids_[first] : -1;
  return words_.Find(bytes);
}

template <typename Out>
void Bpe::CharSymbols(std::string_view word, Out push) const {
  bool unk_before = false;
  for (size_t i = 0; i < word.size();) {
    const size_t length = options_.byte_level ? 1 : static_cast<size_t>(Utf8Length(word[i]));
    const std::string_view character = word.substr(i, length);
    i += length;
    const int32_t id = IdOfBytes(character);
    if (id >= 0) {
      push(id);
      unk_before = false;
      continue;
    }
    const auto byte_id = [&](char c) { return byte_ids_[static_cast<unsigned char>(c)]; };
    if (options_.byte_fallback && !options_.byte_level &&
        std::all_of(character.begin(), character.end(), [&](char c) { return byte_id(c) >= 0; })) {
      for (const char c : character) push(byte_id(c));
      unk_before = false;
      continue;
    }
    if (options_.unk >= 0 && !(unk_before && options_.fuse_unk)) push(options_.unk);
    unk_before = options_.unk >= 0;
  }
}

void Bpe::Encode(std::string_view word, std::vector<int32_t>& out) const {
  if (word.empty()) return;
  int32_t whole = -1;
  if (word.size() <= longest_) {
    whole = words_.Find(word);
    if (whole >= 0) {
      const uint8_t state = whole_[static_cast<size_t>(whole)].load(std::memory_order_relaxed);
      if (options_.ignore_merges || state == kYes) {
        out.push_back(whole);
        return;
      }
      if (state == kNo) whole = -1;
    }
  }
  const size_t before = out.size();
  if (word.size() <= kShort) {
    int32_t ids[kShort];
    int count = 0;
    CharSymbols(word, [&](int32_t id) { ids[count++] = id; });
    count = MergeShort(ids, count);
    out.insert(out.end(), ids, ids + count);
  } else {
    std::vector<int32_t> ids;
    ids.reserve(word.size());
    CharSymbols(word, [&](int32_t id) { ids.push_back(id); });
    MergeLong(ids);
    out.insert(out.end(), ids.begin(), ids.end());
  }
  if (whole >= 0) {
    const bool yes = out.size() == before + 1 && out[before] == whole;
    whole_[static_cast<size_t>(whole)].store(yes ? kYes : kNo, std::memory_order_relaxed);
  }
}

int Bpe::MergeShort(int32_t* ids, int count) const {
  uint32_t rank[kShort];
  int32_t result[kShort];  // of merging ids[i] and ids[i + 1]
  const auto look_up = [&](int i) {
    const Merged merged = FindPair(ids[i], ids[i + 1]);
    rank[i] = merged.rank;
    result[i] = merged.id;
  };
  for (int i = 0; i + 1 < count; ++i) look_up(i);
  while (count > 1) {
    int best = 0;
    uint32_t best_rank = rank[0];
    for (int i = 1; i + 1 < count; ++i) {
      if (rank[i] < best_rank) {
        best_rank = rank[i];
        best = i;
      }
    }
    if (best_rank == UINT32_MAX) break;
    ids[best] = result[best];
    const auto move = [&](auto* values) {
      std::memmove(values + best + 1, values + best + 2, static_cast<size_t>(count - best - 2) * sizeof(*values));
    };
    move(ids);
    move(rank);
    move(result);
    --count;
    if (best + 1 < count) look_up(best);
    if (best > 0) look_up(best - 1);
  }
  return count;
}

void Bpe::MergeLong(std::vector<int32_t>& ids) const {
  struct Node {
    uint32_t previous, next, rank;  // rank and result of merging with `next`
    int32_t result;
  };
  struct Candidate {
    uint32_t rank, at;
    bool operator>(const Candidate& other) const { return rank != other.rank ? rank > other.rank : at > other.at; }
  };
  const auto count = static_cast<uint32_t>(ids.size());
  std::vector<Node> nodes(count);
  std::vector<Candidate> initial;
  for (uint32_t i = 0; i < count; ++i) {
    const Merged merged = i + 1 < count ? FindPair(ids[i], ids[i + 1]) : Merged{};
    nodes[i] = {i - 1, i + 1, merged.rank, merged.id};  // the first one's `previous` is UINT32_MAX
    if (merged.rank != UINT32_MAX) initial.push_back({merged.rank, i});
  }
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> queue(std::greater<>(), std::move(initial));
  const auto update = [&](uint32_t at) {
    const uint32_t next = nodes[at].next;
    const Merged merged = next < count ? FindPair(ids[at], ids[next]) : Merged{};
    nodes[at].rank = merged.rank;
    nodes[at].result = merged.id;
    if (merged.rank != UINT32_MAX) queue.push({merged.rank, at});
  };
  while (!queue.empty()) {
    const Candidate top = queue.top();
    queue.pop();
    Node& node = nodes[top.at];
    if (ids[top.at] < 0 || node.rank != top.rank) continue;  // merged away, or with another neighbour now
    ids[top.at] = node.result;
    ids[node.next] = -1;
    node.next = nodes[node.next].next;
    if (node.next < count) nodes[node.next].previous = top.at;
    update(top.at);
    if (node.previous < count) update(node.previous);
  }
  std::erase(ids, -1);
}

}  // namespace gannet
