// Filters on text and numbers.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "chat/jinja/filters.h"
#include "chat/jinja/interpreter.h"
#include "chat/jinja/print.h"
#include "chat/jinja/text.h"

namespace gannet::jinja {
namespace {

// The result is markup when the input was, as with Python's Markup.
Value Like(const Value& input, std::string text) {
  return input.is_markup() ? Value::Markup(std::move(text)) : Value(std::move(text));
}

Value ToJsonFilter(Interpreter& interpreter, const Value& input, const Arguments& arguments) {
  const Bound args("tojson", arguments, {"ensure_ascii", "indent", "separators", "sort_keys"});
  JsonStyle style;
  style.ensure_ascii = args.Bool(0, false);
  style.sort_keys = args.Bool(3, false);
  if (!args.IsNone(1)) {
    style.item_separator.pop_back();  // no space at the end of a line
    if (args.at(1).is_string()) {
      style.indent = args.String(1);
    } else {
      style.indent = std::string(static_cast<size_t>(std::clamp<int64_t>(args.Integer(1, 0), 0, 1000)), ' ');
    }
  }
  if (!args.IsNone(2)) {
    const std::vector<Value> pair = interpreter.Iterate(args.at(2));
    if (pair.size() != 2 || !pair[0].is_string() || !pair[1].is_string()) {
      Fail("tojson() takes as separators a pair of strings");
    }
    style.item_separator = pair[0].as_string();
    style.key_separator = pair[1].as_string();
  }
  return Value(ToJson(input, style, interpreter.fuel()));
}

Value Trim(Interpreter& interpreter, const Value& input, const Arguments& arguments) {
  const Bound args("trim", arguments, {"chars"});
  const std::string text = interpreter.ToText(input);
  interpreter.fuel().Grow(text.size());
  std::optional<std::string_view> chars;
  if (!args.IsNone(0)) chars = args.String(0);
  if (chars && chars->size() > 64) interpreter.fuel().Grow(chars->size() * std::min<size_t>(text.size(), 1 << 20));
  return Like(input, std::string(Strip(text, chars, Side::kBoth)));
}

template <std::string (*Change)(std::string_view)>
Value ChangeCase(Interpreter& interpreter, const Value& input, const Arguments& arguments) {
  const Bound none("the filter", arguments, {});
  const std::string text = interpreter.ToText(input);
  interpreter.fuel().Grow(text.size());
  return Like(input, Change(text));
}

// jinja2's title: words begin after white space and - ( { [ <.
std::string TitleWords(std::string_view text) {
  std::string out;
  bool at_start = true;
  size_t start = 0;
  std::string word;
  const auto flush = [&] {
    if (word.empty()) return;
    size_t at = 0;
    NextCodePoint(word, at);
    out += Upper(std::string_view(word).substr(0, at)) + Lower(std::string_view(word).substr(at));
    word.clear();
  };
  for (size_t at = 0; at < text.size(); start = at) {
    const uint32_t c = NextCodePoint(text, at);
    const bool boundary = IsSpace(c) || c == '-' || c == '(' || c == '{' || c == '[' || c == '<';
    if (boundary != at_start) flush();
    at_start = boundary;
    word += text.substr(start, at - start);
  }
  flush();
  return out;
}

Value Replace(Interpreter& interpreter, const Value& input, const Arguments& arguments) {
  const Bound args("replace", arguments, {"old", "new", "count"}, 2);
  const int64_t count = args.IsNone(2) ? -1 : args.Integer(2, -1);
  return Value(ReplaceText(interpreter.ToText(input), interpreter.ToText(args.at(0)), interpreter.ToText(args.at(1)),
                           count, interpreter.fuel()));
}

Value Indent(Interpreter& interpreter, const Value& input, const Arguments& arguments) {
  const Bound args("indent", arguments, {"width", "first", "blank"});
  if (!input.is_string()) Fail(fmt::format("the filter 'indent' takes text, not {}", input.TypeName()));
  const std::string by = args.has(0) && args.at(0).is_string()
                             ? args.String(0)
                             : std::string(static_cast<size_t>(std::clamp<int64_t>(args.Integer(0, 4), 0, 10000)), ' ');
  const std::string text = input.as_string() + "\n";
  const std::vector<std::string_view> lines = SplitLines(text, false);
  interpreter.fuel().Fits(lines.size());
  interpreter.fuel().Grow(text.size() + lines.size() * (by.size() + 16));
  std::string out;
  for (size_t i = 0; i < lines.size(); ++i) {
    if (i != 0) out += '\n';
    if (i == 0 ? args.Bool(1, false) : (args.Bool(2, false) || !lines[i].empty())) out += by;
    out += lines[i];
  }
  return Like(input, std::move(out));
}

Value WordCount(Interpreter& interpreter, const Value& input, const Arguments& arguments) {
  const Bound none("wordcount", arguments, {});
  const std::string text = interpreter.ToText(input);
  int64_t count = 0;
  bool in_word = false;
  for (size_t at = 0; at < text.size();) {
    const uint32_t c = NextCodePoint(text, at);
    const bool word = IsAlpha(c) || IsDigit(c) || c == '_';
    count += word && !in_word;
    in_word = word;
  }
  return count;
}

Value IntFilter(Interpreter&, const Value& input, const Arguments& arguments) {
  const Bound args("int", arguments, {"default", "base"});
  const Value otherwise = args.has(0) ? args.at(0) : Value(0);
  if (input.is_undefined()) Fail(input.as<UndefinedObject>().message);
  std::optional<double> number;
  if (input.is_string()) {
    if (const auto value = ParseInt(input.as_string(), static_cast<int>(args.Integer(1, 10)))) return *value;
    number = ParseFloat(input.as_string());
  } else if (input.is_number()) {
    if (input.is_integer()) return input.as_int();
    number = input.as_double();
  }
  if (!number || !std::isfinite(*number)) return otherwise;
  if (std::abs(*number) > 1e38) Fail("an integer becomes too large");
  return static_cast<Int>(*number);
}

Value FloatFilter(Interpreter&, const Value& input, const Arguments& arguments) {
  const Bound args("float", arguments, {"default"});
  if (input.is_undefined()) Fail(input.as<UndefinedObject>().message);
  if (input.is_number()) return input.as_double();
  if (input.is_string()) {
    if (const auto number = ParseFloat(input.as_string())) return *number;
  }
  return args.has(0) ? args.at(0) : Value(0.0);
}

Value Abs(Interpreter& interpreter, const Value& input, const Arguments& arguments) {
  const Bound none("abs", arguments, {});
  if (!input.is_number()) Fail(fmt::format("bad operand type for abs(): '{}'", input.TypeName()));
  if (input.is(Kind::kFloat)) return std::abs(input.as_double());
  return input.as_int() < 0 ? Binary('-', Value(0), input, interpreter) : Value(input.as_int());
}

Value RoundFilter(Interpreter&, const Value& input, const Arguments& arguments) {
  const Bound args("round", arguments, {"precision", "method"});
  const std::string method = args.has(1) ? args.String(1) : "common";
  const int64_t digits = args.Integer(0, 0);
  if (input.is_undefined()) Fail(input.as<UndefinedObject>().message);
  if (!input.is_number()) Fail(fmt::format("type {} cannot be rounded", input.TypeName()));
  if (method == "common") return Round(input, digits);
  if (method != "ceil" && method != "floor") Fail("method must be common, ceil or floor");
  const double scale = std::pow(10.0, static_cast<double>(digits));
  const double scaled = input.as_double() * scale;
  return (method == "ceil" ? std::ceil(scaled) : std::floor(scaled)) / scale;
}

Value FormatFilter(Interpreter& interpreter, const Value& input, const Arguments& arguments) {
  if (!arguments.positional.empty() && !arguments.named.empty()) {
    Fail("can't handle positional and keyword arguments at the same time");
  }
  Value values = Value::Tuple(arguments.positional);
  if (!arguments.named.empty()) {
    Dict dict;
    for (const auto& [name, value] : arguments.named) dict.Set(Value(name), value, interpreter.fuel());
    values = MakeDict(std::move(dict));
  }
  return Value(FormatPercent(interpreter.ToText(input), values, interpreter));
}

Value Truncate(Interpreter& interpreter, const Value& input, const Arguments& arguments) {
  const Bound args("truncate", arguments, {"length", "killwords", "end", "leeway"});
  if (!input.is_string()) Fail(fmt::format("the filter 'truncate' takes text, not {}", input.TypeName()));
  const std::string end = args.has(2) ? args.String(2) : "...";
  const int64_t length = args.Integer(0, 255);
  const int64_t leeway = args.IsNone(3) ? 5 : args.Integer(3, 5);
  const auto end_size = static_cast<int64_t>(CountCodePoints(end));
  if (length < end_size) Fail(fmt::format("expected length >= {}, got {}", end_size, length));
  if (leeway < 0) Fail(fmt::format("expected leeway >= 0, got {}", leeway));
  const auto size = static_cast<int64_t>(CountCodePoints(input.as_string()));
  if (size <= length || size - length <= leeway) return input;
  Value kept = Slice(input, Value(), Value(length - end_size), Value(), interpreter.fuel());
  if (args.Bool(1, false)) return kept.as_string() + end;
  const std::vector<std::string_view> parts = SplitFromRight(kept.as_string(), " ", 1);
  return std::string(parts[0]) + end;
}

Value Center(Interpreter& interpreter, const Value& input, const Arguments& arguments) {
  const Bound args("center", arguments, {"width"});
  Arguments call;
  call.positional = {Value(args.Integer(0, 80))};
  return interpreter.CallMethod(Value(interpreter.ToText(input)), "center", call);
}

Value StringFilter(Interpreter& interpreter, const Value& input, const Arguments& arguments) {
  const Bound none("string", arguments, {});
  return input.is_string() ? input : Value(interpreter.ToText(input));
}

Value Escape(Interpreter& interpreter, const Value& input, const Arguments& arguments) {
  const Bound none("escape", arguments, {});
  if (input.is_markup()) return input;
  const std::string text = interpreter.ToText(input);
  interpreter.fuel().Grow(text.size() * 6);
  return Value::Markup(EscapeHtml(text));
}

Value Safe(Interpreter& interpreter, const Value& input, const Arguments& arguments) {
  const Bound none("safe", arguments, {});
  return Value::Markup(interpreter.ToText(input));
}

}  // namespace

FilterFunction FindTextFilter(std::string_view name) {
  static constexpr std::pair<std::string_view, FilterFunction> kFilters[] = {{"tojson", ToJsonFilter},
                                                                             {"trim", Trim},
                                                                             {"upper", ChangeCase<Upper>},
                                                                             {"lower", ChangeCase<Lower>},
                                                                             {"title", ChangeCase<TitleWords>},
                                                                             {"capitalize", ChangeCase<Capitalize>},
                                                                             {"replace", Replace},
                                                                             {"indent", Indent},
                                                                             {"wordcount", WordCount},
                                                                             {"int", IntFilter},
                                                                             {"float", FloatFilter},
                                                                             {"abs", Abs},
                                                                             {"round", RoundFilter},
                                                                             {"format", FormatFilter},
                                                                             {"truncate", Truncate},
                                                                             {"center", Center},
                                                                             {"string", StringFilter},
                                                                             {"escape", Escape},
                                                                             {"e", Escape},
                                                                             {"safe", Safe}};
  for (const auto& [known, filter] : kFilters) {
    if (known == name) return filter;
  }
  return nullptr;
}

}  // namespace gannet::jinja
