// Values as text: Python's str, repr and json.dumps.
#pragma once

#include <optional>
#include <string>

#include "chat/jinja/value.h"

namespace gannet::jinja {

std::string FloatRepr(double value);
std::string StringRepr(std::string_view text);
std::string Str(const Value& value, Fuel& fuel);
std::string Repr(const Value& value, Fuel& fuel);

struct JsonStyle {
  bool ensure_ascii = false;
  bool sort_keys = false;
  std::optional<std::string> indent;  // one level of it
  std::string item_separator = ", ";
  std::string key_separator = ": ";
};
// Fails for what json.dumps refuses.
std::string ToJson(const Value& value, const JsonStyle& style, Fuel& fuel);

}  // namespace gannet::jinja
