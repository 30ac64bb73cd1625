// Filters on sequences and mappings.
#include <fmt/format.h>

#include <algorithm>

#include "chat/jinja/filters.h"
#include "chat/jinja/interpreter.h"
#include "chat/jinja/print.h"
#include "chat/jinja/text.h"

namespace gannet::jinja {
namespace {

Value Length(Interpreter& interpreter, const Value& input, const Arguments& arguments) {
  const Bound none("length", arguments, {});
  switch (input.kind()) {
    case Kind::kUndefined:
      return 0;
    case Kind::kString:
      interpreter.fuel().Grow(input.as_string().size());
      return CountCodePoints(input.as_string());
    case Kind::kDict:
      return DictOf(input).size();
    case Kind::kList:
    case Kind::kTuple:
    case Kind::kRange:
    case Kind::kView:
      return input.items().size();
    case Kind::kLoop:
      return input.as<LoopObject>().Length();
    default:
      Fail(fmt::format("object of type '{}' has no len()", input.TypeName()));
  }
}

Value Default(Interpreter&, const Value& input, const Arguments& arguments) {
  const Bound args("default", arguments, {"default_value", "boolean"});
  const bool replaced = input.is_undefined() || (args.Bool(1, false) && !input.Truthy());
  return !replaced ? input : args.has(0) ? args.at(0) : Value("");
}

Value ListFilter(Interpreter& interpreter, const Value& input, const Arguments& arguments) {
  const Bound none("list", arguments, {});
  return Value::List(interpreter.Iterate(input));
}

Value First(Interpreter& interpreter, const Value& input, const Arguments& arguments) {
  const Bound none("first", arguments, {});
  if (input.is(Kind::kGenerator)) {
    auto& generator = input.as<SequenceObject>();
    if (generator.next < generator.items.size()) return generator.items[generator.next++];
  } else if (input.is_sequence() && !input.items().empty()) {
    return input.items().front();
  } else if (input.is_string() && !input.as_string().empty()) {
    return Slice(input, Value(0), Value(1), Value(), interpreter.fuel());
  } else {
    const std::vector<Value> items = interpreter.Iterate(input);
    if (!items.empty()) return items.front();
  }
  return Value::Undefined("No first item, sequence was empty.");
}

Value Last(Interpreter& interpreter, const Value& input, const Arguments& arguments) {
  const Bound none("last", arguments, {});
  if (input.is(Kind::kGenerator)) Fail("'generator' object is not reversible");
  if (input.is_sequence() && !input.items().empty()) return input.items().back();
  if (input.is_string() && !input.as_string().empty()) {
    return Slice(input, Value(-1), Value(), Value(), interpreter.fuel());
  }
  const std::vector<Value> items = interpreter.Iterate(input);
  return items.empty() ? Value::Undefined("No last item, sequence was empty.") : items.back();
}

Value Reverse(Interpreter& interpreter, const Value& input, const Arguments& arguments) {
  const Bound none("reverse", arguments, {});
  if (input.is_string()) return Slice(input, Value(), Value(), Value(-1), interpreter.fuel());
  std::vector<Value> items = interpreter.Iterate(input);
  std::reverse(items.begin(), items.end());
  const bool copied = input.is(Kind::kGenerator) || input.is_undefined();
  return Value::Sequence(copied ? Kind::kList : Kind::kGenerator, std::move(items));
}

Value Join(Interpreter& interpreter, const Value& input, const Arguments& arguments) {
  const Bound args("join", arguments, {"d", "attribute"});
  std::vector<Value> items = interpreter.Iterate(input);
  if (!args.IsNone(1)) {
    for (Value& item : items) item = interpreter.GetItem(item, args.at(1));
  }
  return Value(JoinText(items, args.has(0) ? interpreter.ToText(args.at(0)) : "", interpreter));
}

Value Items(Interpreter& interpreter, const Value& input, const Arguments& arguments) {
  const Bound none("items", arguments, {});
  std::vector<Value> items;
  if (!input.is_undefined()) {
    if (!input.is(Kind::kDict)) Fail("Can only get item pairs from a mapping.");
    interpreter.fuel().Charge(static_cast<int64_t>(DictOf(input).size()));
    for (const auto& [key, value] : DictOf(input).items()) items.push_back(Value::Tuple({key, value}));
  }
  return Value::Sequence(Kind::kGenerator, std::move(items));
}

Value Folded(const Value& value, bool case_sensitive) {
  return value.is_string() && !case_sensitive ? Value(Lower(value.as_string())) : value;
}

// Stable, as Python's sorted; a comparison that fails ends it.
std::vector<Value> SortBy(std::vector<std::pair<Value, Value>> keyed, bool reverse, Fuel& fuel) {
  if (reverse) std::reverse(keyed.begin(), keyed.end());
  std::stable_sort(keyed.begin(), keyed.end(),
                   [&](const auto& a, const auto& b) { return Less(a.first, b.first, fuel); });
  if (reverse) std::reverse(keyed.begin(), keyed.end());
  std::vector<Value> sorted;
  for (auto& [key, value] : keyed) sorted.push_back(std::move(value));
  return sorted;
}

Value DictSort(Interpreter& interpreter, const Value& input, const Arguments& arguments) {
  const Bound args("dictsort", arguments, {"case_sensitive", "by", "reverse"});
  const std::string by = args.has(1) ? args.String(1) : "key";
  if (by != "key" && by != "value") Fail("You can only sort by either \"key\" or \"value\"");
  if (!input.is(Kind::kDict)) Fail(fmt::format("the filter 'dictsort' takes a mapping, not {}", input.TypeName()));
  std::vector<std::pair<Value, Value>> keyed;
  for (const auto& [key, value] : DictOf(input).items()) {
    keyed.emplace_back(Folded(by == "key" ? key : value, args.Bool(0, false)), Value::Tuple({key, value}));
  }
  return Value::List(SortBy(std::move(keyed), args.Bool(2, false), interpreter.fuel()));
}

// "a.b.0" looked up part by part.
Value Attribute(Interpreter& interpreter, Value item, const Value& path) {
  if (path.is_none()) return item;
  if (!path.is_string()) return interpreter.GetItem(item, path);
  for (const std::string_view part : Split(path.as_string(), ".", -1)) {
    const bool index = !part.empty() && part.find_first_not_of("0123456789") == std::string_view::npos;
    const auto number = index ? ParseInt(part, 10) : std::nullopt;
    item = interpreter.GetItem(item, number ? Value(*number) : Value(part));
  }
  return item;
}

Value Sort(Interpreter& interpreter, const Value& input, const Arguments& arguments) {
  const Bound args("sort", arguments, {"reverse", "case_sensitive", "attribute"});
  std::vector<std::pair<Value, Value>> keyed;
  for (Value& item : interpreter.Iterate(input)) {
    std::vector<Value> key;
    if (!args.IsNone(2) && args.at(2).is_string()) {
      for (const std::string_view path : Split(args.at(2).as_string(), ",", -1)) {
        key.push_back(Folded(Attribute(interpreter, item, Value(path)), args.Bool(1, false)));
      }
    } else {
      key.push_back(Folded(args.IsNone(2) ? item : Attribute(interpreter, item, args.at(2)), args.Bool(1, false)));
    }
    keyed.emplace_back(Value::List(std::move(key)), std::move(item));
  }
  return Value::List(SortBy(std::move(keyed), args.Bool(0, false), interpreter.fuel()));
}

Value Unique(Interpreter& interpreter, const Value& input, const Arguments& arguments) {
  const Bound args("unique", arguments, {"case_sensitive", "attribute"});
  Dict seen;
  std::vector<Value> items;
  for (Value& item : interpreter.Iterate(input)) {
    Value key = Folded(args.IsNone(1) ? item : Attribute(interpreter, item, args.at(1)), args.Bool(0, false));
    if (seen.Find(key, interpreter.fuel())) continue;
    seen.Set(std::move(key), Value(), interpreter.fuel());
    items.push_back(std::move(item));
  }
  return Value::Sequence(Kind::kGenerator, std::move(items));
}

template <bool kLargest>
Value Extreme(Interpreter& interpreter, const Value& input, const Arguments& arguments) {
  const Bound args(kLargest ? "max" : "min", arguments, {"case_sensitive", "attribute"});
  std::optional<std::pair<Value, Value>> best;
  for (Value& item : interpreter.Iterate(input)) {
    Value key = Folded(args.IsNone(1) ? item : Attribute(interpreter, item, args.at(1)), args.Bool(0, false));
    if (!best || (kLargest ? Less(best->first, key, interpreter.fuel()) : Less(key, best->first, interpreter.fuel()))) {
      best.emplace(std::move(key), std::move(item));
    }
  }
  return best ? best->second : Value::Undefined("No aggregated item, sequence was empty.");
}

Value Sum(Interpreter& interpreter, const Value& input, const Arguments& arguments) {
  const Bound args("sum", arguments, {"attribute", "start"});
  Value sum = args.has(1) ? args.at(1) : Value(0);
  if (sum.is_string()) Fail("sum() can't sum strings");
  for (const Value& item : interpreter.Iterate(input)) {
    sum = Add(sum, args.IsNone(0) ? item : Attribute(interpreter, item, args.at(0)), interpreter.fuel());
  }
  return sum;
}

Value Batch(Interpreter& interpreter, const Value& input, const Arguments& arguments) {
  const Bound args("batch", arguments, {"linecount", "fill_with"}, 1);
  const int64_t size = args.Integer(0, 0);
  std::vector<Value> batches, batch;
  for (Value& item : interpreter.Iterate(input)) {
    if (static_cast<int64_t>(batch.size()) == size) batches.push_back(Value::List(std::exchange(batch, {})));
    batch.push_back(std::move(item));
  }
  if (!batch.empty()) {
    const auto missing = size - static_cast<int64_t>(batch.size());
    if (!args.IsNone(1) && missing > 0) {
      interpreter.fuel().Charge(missing);
      batch.resize(static_cast<size_t>(size), args.at(1));
    }
    batches.push_back(Value::List(std::move(batch)));
  }
  return Value::Sequence(Kind::kGenerator, std::move(batches));
}

Value SliceFilter(Interpreter& interpreter, const Value& input, const Arguments& arguments) {
  const Bound args("slice", arguments, {"slices", "fill_with"}, 1);
  const int64_t slices = args.Integer(0, 0);
  if (slices <= 0) Fail("the filter 'slice' needs a positive number of slices");
  interpreter.fuel().Charge(slices);
  const std::vector<Value> items = interpreter.Iterate(input);
  const auto count = static_cast<int64_t>(items.size());
  std::vector<Value> parts;
  auto from = items.begin();
  for (int64_t i = 0; i < slices; ++i) {
    const bool extra = i < count % slices;
    const auto to = from + (count / slices + (extra ? 1 : 0));
    std::vector<Value> part(from, to);
    if (!extra && !args.IsNone(1)) part.push_back(args.at(1));
    parts.push_back(Value::List(std::move(part)));
    from = to;
  }
  return Value::Sequence(Kind::kGenerator, std::move(parts));
}

}  // namespace

Value LookUpPath(Interpreter& interpreter, const Value& item, const Value& path) {
  return Attribute(interpreter, item, path);
}

std::string JoinText(const std::vector<Value>& items, std::string_view separator, Interpreter& interpreter) {
  std::string out;
  for (size_t i = 0; i < items.size(); ++i) {
    const std::string text = interpreter.ToText(items[i]);
    interpreter.fuel().Fits(out.size() + separator.size() + text.size());
    interpreter.fuel().Grow(separator.size() + text.size());
    if (i != 0) out += separator;
    out += text;
  }
  return out;
}

FilterFunction FindSequenceFilter(std::string_view name) {
  static constexpr std::pair<std::string_view, FilterFunction> kFilters[] = {
      {"length", Length}, {"count", Length},  {"default", Default},   {"d", Default},          {"list", ListFilter},
      {"first", First},   {"last", Last},     {"reverse", Reverse},   {"join", Join},          {"items", Items},
      {"sort", Sort},     {"unique", Unique}, {"dictsort", DictSort}, {"min", Extreme<false>}, {"max", Extreme<true>},
      {"sum", Sum},       {"batch", Batch},   {"slice", SliceFilter}};
  for (const auto& [known, filter] : kFilters) {
    if (known == name) return filter;
  }
  return nullptr;
}

}  // namespace gannet::jinja
