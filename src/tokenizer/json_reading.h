// Reading the parts of a tokenizer.json; every function throws LoadError("tokenizer", ...) saying where.
#pragma once

#include <fmt/format.h>

#include <string>
#include <string_view>

#include "base/json.h"

namespace gannet::tokenizer_json {

template <typename... Args>
[[noreturn]] void Fail(fmt::format_string<Args...> format, Args&&... args) {
  throw LoadError("tokenizer", fmt::format(format, std::forward<Args>(args)...));
}

// A member that is missing or null is null here.
inline const Json* Get(const Json& object, std::string_view key) {
  const Json* value = object.Find(key);
  return value && !value->is_null() ? value : nullptr;
}

inline const std::string& String(const Json& object, std::string_view key, std::string_view where) {
  const Json* value = Get(object, key);
  if (!value || !value->is_string()) Fail("{} needs \"{}\", a string", where, key);
  return value->as_string();
}

inline bool Bool(const Json& object, std::string_view key, bool otherwise, std::string_view where) {
  const Json* value = Get(object, key);
  if (!value) return otherwise;
  if (!value->is_bool()) Fail("{}: \"{}\" is not true or false", where, key);
  return value->as_bool();
}

inline int64_t Int(const Json& object, std::string_view key, int64_t low, int64_t high, std::string_view where) {
  const Json* value = Get(object, key);
  const std::optional<int64_t> number = value ? value->as_int() : std::nullopt;
  if (!number || *number < low || *number > high) Fail("{} needs \"{}\", an integer in {}..{}", where, key, low, high);
  return *number;
}

inline const Json::Array& Array(const Json& object, std::string_view key, std::string_view where) {
  const Json* value = Get(object, key);
  if (!value || !value->is_array()) Fail("{} needs \"{}\", a list", where, key);
  return value->as_array();
}

// {"String": s} or {"Regex": s}.
struct Pattern {
  std::string text;
  bool is_regex;
};
inline Pattern ReadPattern(const Json& object, std::string_view where) {
  const Json* pattern = Get(object, "pattern");
  if (pattern && pattern->is_string()) return {pattern->as_string(), false};
  for (const bool is_regex : {false, true}) {
    const Json* text = pattern ? Get(*pattern, is_regex ? "Regex" : "String") : nullptr;
    if (text && text->is_string()) return {text->as_string(), is_regex};
  }
  Fail("{} needs \"pattern\", {{\"String\": ...}} or {{\"Regex\": ...}}", where);
}

}  // namespace gannet::tokenizer_json
