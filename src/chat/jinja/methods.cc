// Methods of str, dict, list, tuple and loop, and the functions every template can call.
#include <fmt/format.h>

#include <algorithm>

#include "chat/jinja/filters.h"
#include "chat/jinja/interpreter.h"
#include "chat/jinja/print.h"
#include "chat/jinja/text.h"

namespace gannet::jinja {
namespace {

template <size_t N>
bool IsOneOf(std::string_view name, const std::string_view (&names)[N]) {
  return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

constexpr std::string_view kTextMethods[] = {
    "capitalize",   "casefold",   "center",    "count",       "encode",    "endswith",     "expandtabs",   "find",
    "format",       "format_map", "index",     "isalnum",     "isalpha",   "isascii",      "isdecimal",    "isdigit",
    "isidentifier", "islower",    "isnumeric", "isprintable", "isspace",   "istitle",      "isupper",      "join",
    "ljust",        "lower",      "lstrip",    "maketrans",   "partition", "removeprefix", "removesuffix", "replace",
    "rfind",        "rindex",     "rjust",     "rpartition",  "rsplit",    "rstrip",       "split",        "splitlines",
    "startswith",   "strip",      "swapcase",  "title",       "translate", "upper",        "zfill"};
constexpr std::string_view kDictMethods[] = {"clear", "copy",    "fromkeys",   "get",    "items", "keys",
                                             "pop",   "popitem", "setdefault", "update", "values"};
constexpr std::string_view kListMethods[] = {"append", "clear", "copy",   "count",   "extend", "index",
                                             "insert", "pop",   "remove", "reverse", "sort"};
constexpr std::string_view kTupleMethods[] = {"count", "index"};
constexpr std::string_view kLoopMethods[] = {"cycle", "changed"};
constexpr std::string_view kDictMutating[] = {"clear", "pop", "popitem", "setdefault", "update"};
constexpr std::string_view kListMutating[] = {"append", "clear",  "extend",  "insert",
                                              "pop",    "remove", "reverse", "sort"};

// Optional start and end, in code points, of find, count, startswith and the like; empty when start is beyond.
std::optional<std::string_view> Part(const std::string& text, const Bound& args, size_t first, Fuel& fuel,
                                     size_t& skipped) {
  skipped = 0;
  if (args.IsNone(first) && args.IsNone(first + 1)) return text;
  const Int size = static_cast<Int>(CountCodePoints(text));
  const auto clamp = [&](size_t i, Int otherwise) {
    if (args.IsNone(i)) return otherwise;
    const Int index = args.Integer(i, 0);
    return std::max<Int>(index < 0 ? index + size : index, 0);
  };
  const Int start = clamp(first, 0);
  const Int end = std::min(clamp(first + 1, size), size);
  if (start > size || start > end) return std::nullopt;
  fuel.Grow(text.size());
  const std::vector<size_t> offsets = CodePointOffsets(text);
  skipped = static_cast<size_t>(start);
  const size_t from = offsets[skipped];
  return std::string_view(text).substr(from, offsets[static_cast<size_t>(end)] - from);
}

Value Find(const std::string& name, const std::string& text, const Arguments& arguments, Fuel& fuel) {
  const Bound args(name, arguments, {"sub", "start", "end"}, 1);
  const std::string& sub = args.String(0);
  size_t skipped = 0;
  const auto part = Part(text, args, 1, fuel, skipped);
  fuel.Grow(text.size());
  if (name == "count") {
    if (!part) return 0;
    if (sub.empty()) return CountCodePoints(*part) + 1;
    int64_t count = 0;
    for (size_t at = part->find(sub); at != std::string_view::npos; at = part->find(sub, at + sub.size())) ++count;
    return count;
  }
  const size_t at = !part ? std::string_view::npos : name[0] == 'r' ? part->rfind(sub) : part->find(sub);
  if (at != std::string_view::npos) return skipped + CountCodePoints(part->substr(0, at));
  if (name == "find" || name == "rfind") return -1;
  Fail("substring not found");
}

Value StartsOrEnds(const std::string& name, const std::string& text, const Arguments& arguments, Fuel& fuel) {
  const Bound args(name, arguments, {"prefix", "start", "end"}, 1);
  size_t skipped = 0;
  const auto part = Part(text, args, 1, fuel, skipped);
  const auto matches = [&](const Value& affix) {
    if (!affix.is_string()) {
      Fail(fmt::format("{} first arg must be str or a tuple of str, not {}", name, affix.TypeName()));
    }
    if (!part) return false;
    return name == "startswith" ? part->starts_with(affix.as_string()) : part->ends_with(affix.as_string());
  };
  if (!args.at(0).is(Kind::kTuple)) return matches(args.at(0));
  const auto& items = args.at(0).items();
  fuel.Charge(static_cast<int64_t>(items.size()));
  return std::any_of(items.begin(), items.end(), matches);
}

bool All(std::string_view text, bool (*is)(uint32_t)) {
  for (size_t at = 0; at < text.size();) {
    if (!is(NextCodePoint(text, at))) return false;
  }
  return !text.empty();
}

// Whether cased letters are there and all of one case.
bool OneCase(std::string_view text, bool (*wanted)(uint32_t), bool (*other)(uint32_t)) {
  bool seen = false;
  for (size_t at = 0; at < text.size();) {
    const uint32_t c = NextCodePoint(text, at);
    if (other(c)) return false;
    seen |= wanted(c);
  }
  return seen;
}

Value Pad(const std::string& name, const std::string& text, const Arguments& arguments, Fuel& fuel) {
  const Bound args(name, arguments, {"width", "fillchar"}, 1);
  const int64_t width = args.Integer(0, 0);
  const auto size = static_cast<int64_t>(CountCodePoints(text));
  const std::string fill = args.has(1) ? args.String(1) : name == "zfill" ? "0" : " ";
  if (CountCodePoints(fill) != 1) Fail("The fill character must be exactly one character long");
  if (width <= size) return text;
  const int64_t missing = width - size;
  fuel.Fits(static_cast<size_t>(missing));
  fuel.Grow(static_cast<size_t>(missing) * fill.size() + text.size());
  const int64_t left = name == "ljust" ? 0 : name == "center" ? missing / 2 + (missing & width & 1) : missing;
  std::string before, after;
  for (int64_t i = 0; i < missing; ++i) (i < left ? before : after) += fill;
  if (name == "zfill" && (text.starts_with('-') || text.starts_with('+'))) return text[0] + before + text.substr(1);
  return before + text + after;
}

Value Partition(const std::string& name, const std::string& text, const Arguments& arguments) {
  const Bound args(name, arguments, {"sep"}, 1);
  const std::string& separator = args.String(0);
  if (separator.empty()) Fail("empty separator");
  const bool right = name == "rpartition";
  const size_t at = right ? text.rfind(separator) : text.find(separator);
  if (at == std::string::npos)
    return Value::Tuple(right ? std::vector<Value>{"", "", text} : std::vector<Value>{text, "", ""});
  return Value::Tuple({text.substr(0, at), separator, text.substr(at + separator.size())});
}

Value TextMethod(Interpreter& interpreter, const std::string& text, const std::string& name,
                 const Arguments& arguments) {
  Fuel& fuel = interpreter.fuel();
  fuel.Grow(text.size());
  if (name == "strip" || name == "lstrip" || name == "rstrip") {
    const Bound args(name, arguments, {"chars"});
    const Side side = name == "strip" ? Side::kBoth : name == "lstrip" ? Side::kLeft : Side::kRight;
    std::optional<std::string_view> chars;
    if (!args.IsNone(0)) chars = args.String(0);
    if (chars) fuel.Charge(static_cast<int64_t>(chars->size()));
    if (chars && chars->size() > 64) fuel.Grow(std::min(chars->size() * text.size(), size_t{1} << 62));
    return Value(Strip(text, chars, side));
  }
  if (name == "split" || name == "rsplit" || name == "splitlines") return SplitText(name, text, arguments, fuel);
  if (name == "startswith" || name == "endswith") return StartsOrEnds(name, text, arguments, fuel);
  if (name == "find" || name == "rfind" || name == "index" || name == "rindex" || name == "count") {
    return Find(name, text, arguments, fuel);
  }
  if (name == "replace") {
    const Bound args(name, arguments, {"old", "new", "count"}, 2);
    return Value(ReplaceText(text, args.String(0), args.String(1), args.Integer(2, -1), fuel));
  }
  if (name == "join") {
    const Bound args(name, arguments, {"iterable"}, 1);
    const std::vector<Value> items = interpreter.Iterate(args.at(0));
    for (size_t i = 0; i < items.size(); ++i) {
      if (!items[i].is_string()) {
        Fail(fmt::format("sequence item {}: expected str instance, {} found", i, items[i].TypeName()));
      }
    }
    return Value(JoinText(items, text, interpreter));
  }
  if (name == "format") return Value(FormatBraces(text, arguments, interpreter));
  if (name == "center" || name == "ljust" || name == "rjust" || name == "zfill") {
    return Pad(name, text, arguments, fuel);
  }
  if (name == "partition" || name == "rpartition") return Partition(name, text, arguments);
  if (name == "removeprefix" || name == "removesuffix") {
    const Bound args(name, arguments, {"affix"}, 1);
    const std::string& affix = args.String(0);
    if (name == "removeprefix") return text.starts_with(affix) ? text.substr(affix.size()) : text;
    return text.ends_with(affix) ? text.substr(0, text.size() - affix.size()) : text;
  }
  const Bound none(name, arguments, {});
  if (name == "upper") return Upper(text);
  if (name == "lower" || (name == "casefold" && IsAscii(text))) return Lower(text);
  if (name == "title") return Title(text);
  if (name == "capitalize") return Capitalize(text);
  if (name == "isspace") return All(text, IsSpace);
  if (name == "isdigit" || name == "isdecimal") return All(text, IsDigit);
  if (name == "isnumeric" && IsAscii(text)) return All(text, IsDigit);
  if (name == "isalpha") return All(text, IsAlpha);
  if (name == "isalnum") return All(text, [](uint32_t c) { return IsAlpha(c) || IsDigit(c); });
  if (name == "isascii") return IsAscii(text);
  if (name == "isprintable") return text.empty() || All(text, IsPrintable);
  if (name == "isupper") return OneCase(text, IsUpper, IsLower);
  if (name == "islower") return OneCase(text, IsLower, IsUpper);
  Fail(fmt::format("the string method '{}' is not supported", name));
}

Value DictMethod(Interpreter& interpreter, const Value& self, const std::string& name, const Arguments& arguments) {
  const Dict& dict = DictOf(self);
  Fuel& fuel = interpreter.fuel();
  if (name == "get") {
    const Bound args(name, arguments, {"key", "default"}, 1);
    if (const Value* value = dict.Find(args.at(0), fuel)) return *value;
    return args.has(1) ? args.at(1) : Value();
  }
  const Bound none(name, arguments, {});
  fuel.Charge(static_cast<int64_t>(dict.size()));
  if (name == "copy") return self;
  std::vector<Value> items;
  for (const auto& [key, value] : dict.items()) {
    items.push_back(name == "keys" ? key : name == "values" ? value : Value::Tuple({key, value}));
  }
  if (name == "keys" || name == "values" || name == "items") {
    return Value::Sequence(Kind::kView, std::move(items), "dict_" + name);
  }
  Fail(fmt::format("the dict method '{}' is not supported", name));
}

Value ListMethod(Interpreter& interpreter, const Value& self, const std::string& name, const Arguments& arguments) {
  Fuel& fuel = interpreter.fuel();
  const auto& items = self.items();
  if (name == "copy") return self;
  const Bound args(name, arguments, {"value"}, 1);
  int64_t count = 0;
  for (size_t i = 0; i < items.size(); ++i) {
    if (!Equal(items[i], args.at(0), fuel)) continue;
    if (name == "index") return i;
    ++count;
  }
  if (name == "count") return count;
  Fail(fmt::format("{} is not in the {}", Repr(args.at(0), fuel), self.TypeName()));
}

Value LoopMethod(Interpreter& interpreter, LoopObject& loop, const std::string& name, const Arguments& arguments) {
  if (!arguments.named.empty()) Fail(fmt::format("loop.{}() takes no keyword arguments", name));
  if (name == "cycle") {
    if (arguments.positional.empty()) Fail("no items for cycling given");
    return arguments.positional[static_cast<size_t>(loop.index) % arguments.positional.size()];
  }
  Value now = Value::Tuple(arguments.positional);
  if (loop.changed && Equal(*loop.changed, now, interpreter.fuel())) return false;
  loop.changed = std::move(now);
  return true;
}

}  // namespace

bool HasMethod(const Value& object, std::string_view name) {
  switch (object.kind()) {
    case Kind::kString:
      return IsOneOf(name, kTextMethods);
    case Kind::kDict:
      return IsOneOf(name, kDictMethods);
    case Kind::kList:
      return IsOneOf(name, kListMethods);
    case Kind::kTuple:
    case Kind::kRange:
      return IsOneOf(name, kTupleMethods);
    case Kind::kLoop:
      return IsOneOf(name, kLoopMethods);
    default:
      return false;
  }
}

bool IsMutating(const Value& object, std::string_view name) {
  return (object.is(Kind::kDict) && IsOneOf(name, kDictMutating)) ||
         (object.is(Kind::kList) && IsOneOf(name, kListMutating));
}

Value Interpreter::CallMethod(const Value& self, const std::string& name, const Arguments& arguments) {
  const Nested nested(fuel_);
  switch (self.kind()) {
    case Kind::kString:
      return TextMethod(*this, self.as_string(), name, arguments);
    case Kind::kDict:
      return DictMethod(*this, self, name, arguments);
    case Kind::kLoop:
      return LoopMethod(*this, self.as<LoopObject>(), name, arguments);
    default:
      return ListMethod(*this, self, name, arguments);
  }
}

}  // namespace gannet::jinja
