// Python's two ways to format text.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "chat/jinja/filters.h"
#include "chat/jinja/interpreter.h"
#include "chat/jinja/print.h"
#include "chat/jinja/text.h"

namespace gannet::jinja {
namespace {

constexpr int kMaxWidth = 10'000;

// A conversion: flags are of "-+ #0", type one letter; width and precision -1 when absent.
struct Spec {
  std::string flags;
  int width = -1;
  int precision = -1;
  char type = 's';
  bool Has(char flag) const { return flags.find(flag) != std::string::npos; }
};

int ReadNumber(std::string_view text, size_t& at) {
  int number = 0;
  while (at < text.size() && text[at] >= '0' && text[at] <= '9') {
    number = number * 10 + (text[at++] - '0');
    if (number > kMaxWidth) Fail("a format asks for too wide a field");
  }
  return number;
}

std::string Digits(Int value, char type) {
  if (type != 'x' && type != 'X' && type != 'o') return IntToString(value < 0 ? -value : value);
  if (value > INT64_MAX || value < -INT64_MAX) Fail("an integer is too large for this format");
  const auto magnitude = static_cast<unsigned long long>(value < 0 ? -value : value);
  return type == 'x'   ? fmt::format("{:x}", magnitude)
         : type == 'X' ? fmt::format("{:X}", magnitude)
                       : fmt::format("{:o}", magnitude);
}

std::string FormatNumber(const Spec& spec, const Value& value) {
  if (value.is_undefined()) Fail(value.as<UndefinedObject>().message);
  if (!value.is_number())
    Fail(fmt::format("%{} format: a real number is required, not {}", spec.type, value.TypeName()));
  std::string_view sign;
  std::string digits;
  if (std::string_view("diuxXo").find(spec.type) != std::string_view::npos) {
    if (value.is(Kind::kFloat)) {
      const double number = value.as_double();
      if (!std::isfinite(number) || std::abs(number) > 1e38) Fail("cannot convert this float to an integer");
      if (spec.type == 'x' || spec.type == 'X' || spec.type == 'o') {
        Fail(fmt::format("%{} format: an integer is required, not float", spec.type));
      }
    }
    const Int number = value.is(Kind::kFloat) ? static_cast<Int>(value.as_double()) : value.as_int();
    sign = number < 0 ? "-" : "";
    digits = Digits(number, spec.type);
    if (spec.precision > static_cast<int>(digits.size())) {
      digits.insert(0, static_cast<size_t>(spec.precision) - digits.size(), '0');
    }
    if (spec.Has('#') && spec.type != 'd' && spec.type != 'i' && spec.type != 'u') {
      digits.insert(0, fmt::format("0{}", spec.type));
    }
  } else {
    const double number = value.as_double();
    sign = std::signbit(number) ? "-" : "";
    const std::string pattern = std::string("%") + (spec.Has('#') ? "#" : "") + ".*" + spec.type;
    const int precision = spec.precision < 0 ? 6 : spec.precision;
    char small[64];
    const int size = std::snprintf(small, sizeof small, pattern.c_str(), precision, std::abs(number));
    digits.resize(static_cast<size_t>(size) + 1);
    std::snprintf(digits.data(), digits.size(), pattern.c_str(), precision, std::abs(number));
    digits.pop_back();
  }
  if (sign.empty()) sign = spec.Has('+') ? "+" : spec.Has(' ') ? " " : "";
  const int missing = spec.width - static_cast<int>(sign.size() + digits.size());
  if (missing > 0 && spec.Has('0') && !spec.Has('-')) digits.insert(0, static_cast<size_t>(missing), '0');
  return std::string(sign) + digits;
}

std::string PadTo(std::string text, int width, char align, std::string_view fill) {
  const int missing = width - static_cast<int>(CountCodePoints(text));
  if (missing <= 0) return text;
  const int left = align == '<' ? 0 : align == '^' ? missing / 2 : missing;
  std::string before, after;
  for (int i = 0; i < missing; ++i) (i < left ? before : after) += fill;
  return before + text + after;
}

std::string Convert(const Spec& spec, const Value& value, Interpreter& interpreter) {
  std::string text;
  switch (spec.type) {
    case 's':
    case 'r':
    case 'a': {
      text = spec.type == 's' ? interpreter.ToText(value) : Repr(value, interpreter.fuel());
      if (spec.precision >= 0) {
        text = Slice(Value(text), Value(), Value(spec.precision), Value(), interpreter.fuel()).as_string();
      }
      break;
    }
    case 'c':
      if (value.is_string() && CountCodePoints(value.as_string()) == 1) {
        text = value.as_string();
      } else {
        const int64_t c = ToInt64(value, "%c");
        if (c < 0 || c > 0x10ffff || (c >= 0xd800 && c < 0xe000)) Fail("%c arg not in range(0x110000)");
        AppendCodePoint(static_cast<uint32_t>(c), text);
      }
      break;
    case 'd':
    case 'i':
    case 'u':
    case 'x':
    case 'X':
    case 'o':
    case 'f':
    case 'F':
    case 'e':
    case 'E':
    case 'g':
    case 'G':
      text = FormatNumber(spec, value);
      break;
    default:
      Fail(fmt::format("unsupported format character '{}'", spec.type));
  }
  return PadTo(std::move(text), spec.width, spec.Has('-') ? '<' : '>', " ");
}

}  // namespace

std::string FormatPercent(std::string_view format, const Value& values, Interpreter& interpreter) {
  const bool tuple = values.is(Kind::kTuple);
  size_t used = 0;
  const auto next = [&]() -> Value {
    if (tuple ? used >= values.items().size() : used >= 1) Fail("not enough arguments for format string");
    ++used;
    return tuple ? values.items()[used - 1] : values;
  };
  std::string out;
  bool by_name = false;
  for (size_t at = 0; at < format.size();) {
    const size_t percent = std::min(format.find('%', at), format.size());
    out += format.substr(at, percent - at);
    interpreter.fuel().Fits(out.size());
    interpreter.fuel().Charge();
    at = percent + 1;
    if (percent == format.size()) break;
    if (at >= format.size()) Fail("incomplete format");
    std::optional<Value> named;
    if (format[at] == '(') {
      const size_t close = format.find(')', at);
      if (close == std::string_view::npos) Fail("incomplete format key");
      if (!values.is(Kind::kDict)) Fail("format requires a mapping");
      const std::string key(format.substr(at + 1, close - at - 1));
      const Value* value = DictOf(values).Find(key);
      if (!value) Fail(fmt::format("the format has no value for the key '{}'", key));
      named = *value;
      by_name = true;
      at = close + 1;
    }
    Spec spec;
    while (at < format.size() && std::string_view("-+ #0").find(format[at]) != std::string_view::npos) {
      spec.flags += format[at++];
      if (spec.flags.size() > 16) Fail("a format has too many flags");
    }
    const auto number = [&] {
      if (at >= format.size() || format[at] != '*') return ReadNumber(format, at);
      ++at;
      const int64_t width = ToInt64(next(), "* of a format");
      if (width < 0 || width > kMaxWidth) Fail("a format asks for too wide a field");
      return static_cast<int>(width);
    };
    spec.width = number();
    if (at < format.size() && format[at] == '.') {
      ++at;
      spec.precision = number();
    }
    while (at < format.size() && (format[at] == 'l' || format[at] == 'h' || format[at] == 'L')) ++at;
    if (at >= format.size()) Fail("incomplete format");
    spec.type = format[at++];
    if (spec.type == '%') {
      out += '%';
    } else {
      const std::string text = Convert(spec, named ? *named : next(), interpreter);
      interpreter.fuel().Grow(text.size());
      out += text;
    }
  }
  const bool all =
      tuple ? used == values.items().size() : used == 1 || by_name || values.is(Kind::kDict) || values.is(Kind::kList);
  if (!all) Fail("not all arguments converted during string formatting");
  return out;
}

namespace {

// [[fill]align][sign][#][0][width][,][.precision][type]
std::string FormatField(const Value& value, std::string_view spec_text, Interpreter& interpreter) {
  if (spec_text.empty()) return interpreter.ToText(value);
  Spec spec;
  std::string_view fill = " ";
  char align = 0;
  size_t at = 0;
  const auto is_align = [&](size_t i) {
    return i < spec_text.size() && (spec_text[i] == '<' || spec_text[i] == '>' || spec_text[i] == '^');
  };
  size_t after_fill = 0;
  NextCodePoint(spec_text, after_fill);
  if (is_align(after_fill)) {
    fill = spec_text.substr(0, after_fill);
    align = spec_text[after_fill];
    at = after_fill + 1;
  } else if (is_align(0)) {
    align = spec_text[at++];
  }
  if (at < spec_text.size() && std::string_view("+- ").find(spec_text[at]) != std::string_view::npos) {
    if (spec_text[at] != '-') spec.flags += spec_text[at];
    ++at;
  }
  const bool zero = at < spec_text.size() && spec_text[at] == '0';
  spec.width = ReadNumber(spec_text, at);
  const bool commas = at < spec_text.size() && spec_text[at] == ',';
  if (commas) ++at;
  if (at < spec_text.size() && spec_text[at] == '.') {
    ++at;
    spec.precision = ReadNumber(spec_text, at);
  }
  const bool is_text = value.is_string();
  spec.type = at < spec_text.size() ? spec_text[at++] : is_text ? 's' : value.is(Kind::kInt) ? 'd' : '\0';
  const bool known = std::string_view(is_text ? "s" : "dxXofFeEgG").find(spec.type) != std::string_view::npos;
  if (at != spec_text.size() || !known || spec.type == '\0' || (!is_text && !value.is_number()) ||
      (spec.type == 'd' && !value.is_integer())) {
    Fail(fmt::format("the format '{}' of a {} is not supported", spec_text, value.TypeName()));
  }
  const int width = std::exchange(spec.width, -1);
  if (zero && !align && !commas) {
    spec.width = width;
    spec.flags += '0';
  }
  std::string text = Convert(spec, value, interpreter);
  if (commas) {
    size_t end = std::min(text.find('.'), text.size());
    const size_t first = text.find_first_of("0123456789");
    while (end > first + 3) text.insert(end -= 3, 1, ',');
  }
  return PadTo(std::move(text), width, align ? align : is_text ? '<' : '>', fill);
}

}  // namespace

std::string FormatBraces(std::string_view format, const Arguments& arguments, Interpreter& interpreter) {
  std::string out;
  size_t automatic = 0;
  for (size_t at = 0; at < format.size();) {
    const char c = format[at++];
    if (c != '{' && c != '}') {
      out += c;
      continue;
    }
    if (at < format.size() && format[at] == c) {
      out += format[at++];
      continue;
    }
    if (c == '}') Fail("Single '}' encountered in format string");
    const size_t close = format.find('}', at);
    if (close == std::string_view::npos) Fail("expected '}' before end of string");
    std::string_view field = format.substr(at, close - at);
    at = close + 1;
    const size_t colon = std::min(field.find(':'), field.size());
    const std::string_view spec = colon < field.size() ? field.substr(colon + 1) : std::string_view();
    field = field.substr(0, colon);
    char conversion = 0;
    if (field.size() >= 2 && field[field.size() - 2] == '!') {
      conversion = field.back();
      field.remove_suffix(2);
    }
    if (field.find_first_of("{.[!") != std::string_view::npos || spec.find('{') != std::string_view::npos) {
      Fail(fmt::format("the format field '{}' is not supported", field));
    }
    const Value* value = nullptr;
    if (field.empty() || (field[0] >= '0' && field[0] <= '9')) {
      size_t digits = 0;
      const size_t index = field.empty() ? automatic++ : static_cast<size_t>(ReadNumber(field, digits));
      if (index < arguments.positional.size()) value = &arguments.positional[index];
    }
    for (const auto& [name, named] : arguments.named) {
      if (name == field) value = &named;
    }
    if (!value) Fail(fmt::format("the format has no value for the field '{}'", field));
    interpreter.fuel().Charge();
    const std::string text = conversion == 'r' ? FormatField(Value(Repr(*value, interpreter.fuel())), spec, interpreter)
                             : conversion == 's' ? FormatField(Value(interpreter.ToText(*value)), spec, interpreter)
                             : conversion == 0   ? FormatField(*value, spec, interpreter)
                                                 : (Fail("this format conversion is not supported"), std::string());
    interpreter.fuel().Fits(out.size() + text.size());
    interpreter.fuel().Grow(text.size());
    out += text;
  }
  return out;
}

}  // namespace gannet::jinja
