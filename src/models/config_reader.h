// Reads a configuration key by key and remembers which keys were read, so that a key nobody read is an error: it could
// change the maths. Every failure throws LoadError("models", ...) naming the key with its path ("rope_scaling.factor").
#pragma once

#include <cstdint>
#include <initializer_list>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace gannet {

struct IntRange {
  int64_t min = 0;
  int64_t max = 0;
};
inline constexpr IntRange kWidth{1, int64_t{1} << 24};       // dims, heads, vocabulary
inline constexpr IntRange kLayerCount{1, 10000};             // layers
inline constexpr IntRange kTokenCount{1, int64_t{1} << 40};  // positions, windows

// What a reader noted besides the values, shared by a reader and its nested ones.
struct ConfigNotes {
  std::vector<std::string> ignored;  // "key: reason"
  std::vector<std::string> notices;  // what was assumed
};

class ConfigReader {
 public:
  // `file` names the configuration in messages ("config.json"). Both references outlive the reader.
  ConfigReader(const Json& config, std::string file, ConfigNotes& notes);

  // T: int64_t (kWidth unless `range` says otherwise), double (finite and positive), bool, std::string,
  // std::vector<std::string>, std::vector<int64_t> (each within `range`; true is 1), std::vector<double> (not
  // negative). A null counts as absent; within a list of doubles it is 0.
  template <typename T>
  T Required(std::string_view key, IntRange range = kWidth);
  template <typename T>
  T Optional(std::string_view key, T otherwise, IntRange range = kWidth) {
    return Find<T>(key, range).value_or(std::move(otherwise));
  }
  template <typename T>
  std::optional<T> Find(std::string_view key, IntRange range = kWidth);

  bool Has(std::string_view key) const;     // present and not null; does not count as reading
  bool IsZero(std::string_view key) const;  // present and the number 0; does not count as reading
  bool IsList(std::string_view key) const;  // present and a list; does not count as reading
  // The key is absent, null, or one of the values.
  void Expect(std::string_view key, std::initializer_list<Json> allowed);
  // Keys that do not change the maths, and why.
  void Ignore(std::initializer_list<std::string_view> keys, std::string_view reason);
  void IgnorePrefix(std::string_view prefix, std::string_view reason);
  // The reader of an object, or null when the key is absent or null. Finished together with this one.
  ConfigReader* Nested(std::string_view key);

  // Fails naming every key that was not read, here and in nested objects.
  void Finish();

  void Notice(std::string text);  // once, however often it is said
  // Throws LoadError: "<file>: key '<path>' <problem>".
  [[noreturn]] void Fail(std::string_view key, std::string_view problem) const;

 private:
  const Json* Read(std::string_view key);
  void CollectUnread(std::vector<std::string>& unread);

  const Json& config_;
  std::string file_;
  std::string path_;  // "" or "rope_scaling."
  ConfigNotes& notes_;
  std::set<std::string, std::less<>> read_;
  std::map<std::string, std::unique_ptr<ConfigReader>, std::less<>> nested_;
};

// One value under any of several names that agree.
template <typename T>
std::optional<T> FindAlias(ConfigReader& reader, const std::vector<std::string_view>& keys, IntRange range = kWidth);

// The same, or Fail(the first name) when none is given.
template <typename T>
T RequiredAlias(ConfigReader& reader, const std::vector<std::string_view>& keys, IntRange range = kWidth) {
  const std::optional<T> value = FindAlias<T>(reader, keys, range);
  if (!value) reader.Fail(keys.front(), "is missing");
  return *value;
}

// value / divisor, or Fail(key) unless it divides.
int64_t DivideExactly(const ConfigReader& reader, std::string_view key, int64_t value, std::string_view divisor_key,
                      int64_t divisor);
// a * b, or Fail(key) when it exceeds kWidth.max.
int64_t CheckedWidth(const ConfigReader& reader, std::string_view key, int64_t a, int64_t b);

}  // namespace gannet
