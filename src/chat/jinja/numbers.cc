// Python's number parsing and rounding, and str.split, replace.
#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "chat/jinja/filters.h"
#include "chat/jinja/interpreter.h"
#include "chat/jinja/text.h"

namespace gannet::jinja {

std::optional<Int> ParseInt(std::string_view text, int base) {
  if (base != 0 && (base < 2 || base > 36)) return std::nullopt;
  text = Strip(text, std::nullopt, Side::kBoth);
  const bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) text.remove_prefix(1);
  const auto prefixed = [&](char letter) { return text.size() > 2 && text[0] == '0' && (text[1] | 0x20) == letter; };
  for (const auto& [letter, meaning] : {std::pair('x', 16), std::pair('o', 8), std::pair('b', 2)}) {
    if ((base == 0 || base == meaning) && prefixed(letter)) {
      base = meaning;
      text.remove_prefix(2);
      if (text.starts_with('_')) text.remove_prefix(1);
      break;
    }
  }
  if (base == 0) base = 10;
  Int value = 0;
  bool after_digit = false;
  for (const char c : text) {
    if (c == '_' && after_digit) {
      after_digit = false;
      continue;
    }
    const char lower = static_cast<char>(c | 0x20);
    const int digit = c >= '0' && c <= '9' ? c - '0' : lower >= 'a' && lower <= 'z' ? lower - 'a' + 10 : 99;
    if (digit >= base) return std::nullopt;
    if (__builtin_mul_overflow(value, static_cast<Int>(base), &value) ||
        __builtin_add_overflow(value, static_cast<Int>(digit), &value)) {
      Fail("an integer becomes too large");
    }
    after_digit = true;
  }
  if (!after_digit) return std::nullopt;
  return negative ? -value : value;
}

std::optional<double> ParseFloat(std::string_view text) {
  text = Strip(text, std::nullopt, Side::kBoth);
  std::string plain;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto digit = [&](size_t k) { return k < text.size() && text[k] >= '0' && text[k] <= '9'; };
    if (text[i] == '_') {
      if (i == 0 || !digit(i - 1) || !digit(i + 1)) return std::nullopt;
      continue;
    }
    plain += text[i];
  }
  const std::string lower = Lower(plain);
  const size_t sign = lower.starts_with('-') || lower.starts_with('+') ? 1 : 0;
  const std::string_view body = std::string_view(lower).substr(sign);
  const bool word = body == "inf" || body == "infinity" || body == "nan";
  if (!word && (body.empty() || body.find_first_not_of("0123456789.e+-") != std::string_view::npos)) {
    return std::nullopt;
  }
  char* end = nullptr;
  const double value = std::strtod(lower.c_str(), &end);
  if (end != lower.c_str() + lower.size()) return std::nullopt;
  return value;
}

// round(): to even between two neighbours; a float is rounded by its exact decimal expansion.
Value Round(const Value& value, int64_t digits) {
  if (value.is_integer()) {
    if (digits >= 0) return value.as_int();
    Int unit = 1;
    for (int64_t i = digits; i < 0; ++i) {
      if (__builtin_mul_overflow(unit, Int{10}, &unit)) return 0;
    }
    const Int number = value.as_int();
    const Int rest = ((number % unit) + unit) % unit;
    const Int low = number - rest;
    const bool up = rest * 2 > unit || (rest * 2 == unit && (low / unit) % 2 != 0);
    return up ? low + unit : low;
  }
  const double number = value.as_double();
  if (!std::isfinite(number) || digits > 330) return number;
  if (digits < 0) {
    if (digits < -310) return std::copysign(0.0, number);
    const double unit = std::pow(10.0, static_cast<double>(-digits));
    return std::nearbyint(number / unit) * unit;
  }
  char text[800];
  std::snprintf(text, sizeof text, "%.*f", static_cast<int>(digits), number);
  return std::strtod(text, nullptr);
}

Value SplitText(const std::string& name, const std::string& text, const Arguments& arguments, Fuel& fuel) {
  std::vector<std::string_view> parts;
  if (name == "splitlines") {
    const Bound args(name, arguments, {"keepends"});
    parts = SplitLines(text, args.Bool(0, false));
  } else {
    const Bound args(name, arguments, {"sep", "maxsplit"});
    std::optional<std::string_view> separator;
    if (!args.IsNone(0)) separator = args.String(0);
    if (separator && separator->empty()) Fail("empty separator");
    const int64_t limit = args.Integer(1, -1);
    parts = name == "split" ? Split(text, separator, limit) : SplitFromRight(text, separator, limit);
  }
  fuel.Charge(static_cast<int64_t>(parts.size()));
  std::vector<Value> items;
  items.reserve(parts.size());
  for (const std::string_view part : parts) items.emplace_back(part);
  return Value::List(std::move(items));
}

std::string ReplaceText(std::string_view text, std::string_view from, std::string_view to, int64_t count, Fuel& fuel) {
  std::string out;
  size_t at = 0;
  const auto put = [&](std::string_view piece) {
    fuel.Fits(out.size() + piece.size());
    out += piece;
  };
  if (from.empty()) {  // between all characters, and at both ends
    while (count != 0) {
      put(to);
      --count;
      if (at >= text.size()) break;
      const size_t start = at;
      NextCodePoint(text, at);
      put(text.substr(start, at - start));
    }
  } else {
    for (size_t found; count != 0 && (found = text.find(from, at)) != std::string_view::npos; --count) {
      put(text.substr(at, found - at));
      put(to);
      at = found + from.size();
    }
  }
  put(text.substr(std::min(at, text.size())));
  fuel.Grow(out.size());
  return out;
}

}  // namespace gannet::jinja
