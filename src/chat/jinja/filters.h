// The filters and tests by name, and how their arguments are bound.
#pragma once

#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "chat/jinja/value.h"

namespace gannet::jinja {

using FilterFunction = Value (*)(Interpreter& interpreter, const Value& input, const Arguments& arguments);
using TestFunction = bool (*)(Interpreter& interpreter, const Value& input, const Arguments& arguments);
FilterFunction FindFilter(std::string_view name);  // null when there is none
TestFunction FindTest(std::string_view name);
FilterFunction FindTextFilter(std::string_view name);      // filters_text.cc
FilterFunction FindSequenceFilter(std::string_view name);  // filters_sequence.cc
FilterFunction FindSelectFilter(std::string_view name);    // filters_select.cc

// Arguments under the names of a signature, as Python binds them; the first `required` must be there.
class Bound {
 public:
  Bound(std::string_view what, const Arguments& arguments, std::initializer_list<std::string_view> names,
        size_t required = 0);
  bool has(size_t i) const { return values_[i].has_value(); }
  const Value& at(size_t i) const { return *values_[i]; }
  const Value* find(size_t i) const { return values_[i] ? &*values_[i] : nullptr; }
  bool Bool(size_t i, bool otherwise) const { return has(i) ? at(i).Truthy() : otherwise; }
  int64_t Integer(size_t i, int64_t otherwise) const;  // fails for what is no integer
  const std::string& String(size_t i) const;           // fails for what is no string
  bool IsNone(size_t i) const { return !has(i) || at(i).is_none(); }

 private:
  std::string what_;
  std::vector<std::string_view> names_;
  std::vector<std::optional<Value>> values_;
};

// The item's attribute at "a.b.0", part by part; the item itself for none.
Value LookUpPath(Interpreter& interpreter, const Value& item, const Value& path);
int64_t ToInt64(const Value& value, std::string_view what);
// Python's % on strings, and str.format.
std::string FormatPercent(std::string_view format, const Value& values, Interpreter& interpreter);
std::string FormatBraces(std::string_view format, const Arguments& arguments, Interpreter& interpreter);
// int(text, base), or nothing when it is none.
std::optional<Int> ParseInt(std::string_view text, int base);
std::optional<double> ParseFloat(std::string_view text);
Value Round(const Value& value, int64_t digits);
Value SplitText(const std::string& name, const std::string& text, const Arguments& arguments, Fuel& fuel);
std::string ReplaceText(std::string_view text, std::string_view from, std::string_view to, int64_t count, Fuel& fuel);
std::string JoinText(const std::vector<Value>& items, std::string_view separator, Interpreter& interpreter);

}  // namespace gannet::jinja
