// The strings of a vocabulary and a hash table from string to id.
#pragma once

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace gannet {

// A list of byte strings in one piece of memory, below 4 GiB in all.
class StringList {
 public:
  void Add(std::string_view text) {
    bytes_ += text;
    if (bytes_.size() > UINT32_MAX) throw LoadError("tokenizer", "the vocabulary's text is larger than 4 GiB");
    ends_.push_back(static_cast<uint32_t>(bytes_.size()));
  }
  int64_t size() const { return static_cast<int64_t>(ends_.size()); }
  std::string_view operator[](int64_t i) const {
    const uint32_t begin = i == 0 ? 0 : ends_[static_cast<size_t>(i - 1)];
    return {bytes_.data() + begin, ends_[static_cast<size_t>(i)] - begin};
  }

 private:
  std::string bytes_;
  std::vector<uint32_t> ends_;
};

// string -> id, for some ids of a StringList. Open addressing, at most half full.
class TokenTable {
 public:
  void Reset(const StringList* strings, int64_t count) {
    strings_ = strings;
    size_t slots = 16;
    while (slots < static_cast<size_t>(count) * 2) slots *= 2;
    slots_.assign(slots, Slot{});
  }
  // A string already there gets the new id.
  void Insert(int32_t id) {
    const uint64_t hash = XXH3_64bits((*strings_)[id].data(), (*strings_)[id].size());
    for (size_t i = hash & (slots_.size() - 1);; i = (i + 1) & (slots_.size() - 1)) {
      Slot& slot = slots_[i];
      if (slot.id >= 0 && (slot.tag != Tag(hash) || (*strings_)[slot.id] != (*strings_)[id])) continue;
      slot = {id, Tag(hash)};
      return;
    }
  }
  // The id, or -1.
  int32_t Find(std::string_view text) const {
    if (slots_.empty()) return -1;
    const uint64_t hash = XXH3_64bits(text.data(), text.size());
    for (size_t i = hash & (slots_.size() - 1);; i = (i + 1) & (slots_.size() - 1)) {
      const Slot& slot = slots_[i];
      if (slot.id < 0 || (slot.tag == Tag(hash) && (*strings_)[slot.id] == text)) return slot.id;
    }
  }

 private:
  struct Slot {
    int32_t id = -1;
    uint32_t tag = 0;
  };
  static uint32_t Tag(uint64_t hash) { return static_cast<uint32_t>(hash >> 32); }

  const StringList* strings_ = nullptr;
  std::vector<Slot> slots_;
};

}  // namespace gannet
