// Filters that apply other filters and tests, and the tests themselves.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "chat/jinja/filters.h"
#include "chat/jinja/interpreter.h"
#include "chat/jinja/text.h"

namespace gannet::jinja {
namespace {

Value Map(Interpreter& interpreter, const Value& input, const Arguments& arguments) {
  std::vector<Value> mapped;
  if (!input.Truthy()) return Value::Sequence(Kind::kGenerator, {});  // jinja2 asks before it iterates: None is empty
  if (arguments.positional.empty()) {
    const Bound args("map", arguments, {"attribute", "default"});
    if (!args.has(0)) Fail("map requires a filter argument");
    for (const Value& item : interpreter.Iterate(input)) {
      Value value = LookUpPath(interpreter, item, args.at(0));
      mapped.push_back(value.is_undefined() && !args.IsNone(1) ? args.at(1) : std::move(value));
    }
  } else {
    if (!arguments.positional[0].is_string()) Fail("map takes the name of a filter");
    const std::string name = arguments.positional[0].as_string();
    Arguments rest = arguments;
    rest.positional.erase(rest.positional.begin());
    for (const Value& item : interpreter.Iterate(input)) mapped.push_back(interpreter.Filter(name, item, rest));
  }
  return Value::Sequence(Kind::kGenerator, std::move(mapped));
}

template <bool kKeep, bool kByAttribute>
Value Select(Interpreter& interpreter, const Value& input, const Arguments& arguments) {
  if (!input.Truthy()) return Value::Sequence(Kind::kGenerator, {});
  Arguments rest = arguments;
  const auto take = [&]() -> std::optional<Value> {
    if (rest.positional.empty()) return std::nullopt;
    Value first = rest.positional.front();
    rest.positional.erase(rest.positional.begin());
    return first;
  };
  std::optional<Value> path;
  if (kByAttribute && !(path = take())) Fail("Missing parameter for attribute name");
  const std::optional<Value> test = take();
  if (test && !test->is_string()) Fail("the name of a test must be a string");
  std::vector<Value> kept;
  for (const Value& item : interpreter.Iterate(input)) {
    const Value subject = path ? LookUpPath(interpreter, item, *path) : item;
    const bool passes = test ? interpreter.Test(test->as_string(), subject, rest) : subject.Truthy();
    if (passes == kKeep) kept.push_back(item);
  }
  return Value::Sequence(Kind::kGenerator, std::move(kept));
}

Value GroupBy(Interpreter& interpreter, const Value& input, const Arguments& arguments) {
  const Bound args("groupby", arguments, {"attribute", "default", "case_sensitive"}, 1);
  Fuel& fuel = interpreter.fuel();
  const auto key_of = [&](const Value& item) {
    Value key = LookUpPath(interpreter, item, args.at(0));
    return key.is_undefined() && !args.IsNone(1) ? args.at(1) : key;
  };
  struct Entry {
    Value folded, item;
  };
  std::vector<Entry> entries;
  for (const Value& item : interpreter.Iterate(input)) {
    const Value key = key_of(item);
    const bool folds = key.is_string() && !args.Bool(2, false);
    entries.push_back({folds ? Value(Lower(key.as_string())) : key, item});
  }
  std::stable_sort(entries.begin(), entries.end(),
                   [&](const Entry& a, const Entry& b) { return Less(a.folded, b.folded, fuel); });
  std::vector<Value> groups;
  for (size_t i = 0; i < entries.size();) {
    std::vector<Value> members;
    const size_t first = i;
    for (; i < entries.size() && Equal(entries[i].folded, entries[first].folded, fuel); ++i) {
      members.push_back(entries[i].item);
    }
    groups.push_back(
        Value::Sequence(Kind::kTuple, {key_of(entries[first].item), Value::List(std::move(members))}, "group"));
  }
  return Value::List(std::move(groups));
}

using Args = const Arguments&;

void None(Args arguments) { const Bound none("the test", arguments, {}); }
Value One(Args arguments) { return Bound("the test", arguments, {"other"}, 1).at(0); }

template <Comparison kComparison>
bool CompareTest(Interpreter& interpreter, const Value& value, Args arguments) {
  return Compare(kComparison, value, One(arguments), interpreter);
}

template <bool (*Is)(const Value&)>
bool Plain(Interpreter&, const Value& value, Args arguments) {
  None(arguments);
  return Is(value);
}

bool IsDefined(const Value& v) { return !v.is_undefined(); }
bool IsUndefined(const Value& v) { return v.is_undefined(); }
bool IsNone(const Value& v) { return v.is_none(); }
bool IsBoolean(const Value& v) { return v.is(Kind::kBool); }
bool IsTrue(const Value& v) { return v.is(Kind::kBool) && v.as_bool(); }
bool IsFalse(const Value& v) { return v.is(Kind::kBool) && !v.as_bool(); }
bool IsInteger(const Value& v) { return v.is(Kind::kInt); }
bool IsFloat(const Value& v) { return v.is(Kind::kFloat); }
bool IsNumber(const Value& v) { return v.is_number(); }
bool IsString(const Value& v) { return v.is_string(); }
bool IsMapping(const Value& v) { return v.is(Kind::kDict); }
bool IsSequence(const Value& v) {
  return v.is_undefined() || v.is_string() || v.is(Kind::kList) || v.is(Kind::kTuple) || v.is(Kind::kRange) ||
         v.is(Kind::kDict);
}
bool IsIterable(const Value& v) {
  return v.is_undefined() || v.is_string() || v.is_sequence() || v.is(Kind::kDict) || v.is(Kind::kLoop);
}
bool IsCallable(const Value& v) {
  return v.is_undefined() || v.is(Kind::kMacro) || v.is(Kind::kMethod) || v.is(Kind::kFunction) || v.is(Kind::kLoop);
}
bool IsEscaped(const Value& v) { return v.is_markup(); }

template <bool kOdd>
bool Parity(Interpreter& interpreter, const Value& value, Args arguments) {
  None(arguments);
  return Equal(Binary('%', value, Value(2), interpreter), Value(kOdd ? 1 : 0), interpreter.fuel());
}

bool DivisibleBy(Interpreter& interpreter, const Value& value, Args arguments) {
  return Equal(Binary('%', value, One(arguments), interpreter), Value(0), interpreter.fuel());
}

template <bool kUpper>
bool CaseTest(Interpreter& interpreter, const Value& value, Args arguments) {
  None(arguments);
  return interpreter.CallMethod(Value(interpreter.ToText(value)), kUpper ? "isupper" : "islower", {}).as_bool();
}

bool SameAs(Interpreter&, const Value& value, Args arguments) { return value.SameAs(One(arguments)); }
bool InTest(Interpreter& interpreter, const Value& value, Args arguments) {
  return In(value, One(arguments), interpreter);
}
bool IsFilter(Interpreter&, const Value& value, Args arguments) {
  None(arguments);
  return value.is_string() && FindFilter(value.as_string()) != nullptr;
}
bool IsTest(Interpreter&, const Value& value, Args arguments) {
  None(arguments);
  return value.is_string() && FindTest(value.as_string()) != nullptr;
}

}  // namespace

FilterFunction FindSelectFilter(std::string_view name) {
  static constexpr std::pair<std::string_view, FilterFunction> kFilters[] = {{"map", Map},
                                                                             {"select", Select<true, false>},
                                                                             {"reject", Select<false, false>},
                                                                             {"selectattr", Select<true, true>},
                                                                             {"rejectattr", Select<false, true>},
                                                                             {"groupby", GroupBy}};
  for (const auto& [known, filter] : kFilters) {
    if (known == name) return filter;
  }
  return nullptr;
}

FilterFunction FindFilter(std::string_view name) {
  if (const FilterFunction filter = FindTextFilter(name)) return filter;
  if (const FilterFunction filter = FindSequenceFilter(name)) return filter;
  return FindSelectFilter(name);
}

TestFunction FindTest(std::string_view name) {
  static constexpr std::pair<std::string_view, TestFunction> kTests[] = {
      {"defined", Plain<IsDefined>},
      {"undefined", Plain<IsUndefined>},
      {"none", Plain<IsNone>},
      {"boolean", Plain<IsBoolean>},
      {"true", Plain<IsTrue>},
      {"false", Plain<IsFalse>},
      {"integer", Plain<IsInteger>},
      {"float", Plain<IsFloat>},
      {"number", Plain<IsNumber>},
      {"string", Plain<IsString>},
      {"mapping", Plain<IsMapping>},
      {"sequence", Plain<IsSequence>},
      {"iterable", Plain<IsIterable>},
      {"callable", Plain<IsCallable>},
      {"escaped", Plain<IsEscaped>},
      {"odd", Parity<true>},
      {"even", Parity<false>},
      {"divisibleby", DivisibleBy},
      {"upper", CaseTest<true>},
      {"lower", CaseTest<false>},
      {"sameas", SameAs},
      {"in", InTest},
      {"filter", IsFilter},
      {"test", IsTest},
      {"==", CompareTest<Comparison::kEqual>},
      {"eq", CompareTest<Comparison::kEqual>},
      {"equalto", CompareTest<Comparison::kEqual>},
      {"!=", CompareTest<Comparison::kNotEqual>},
      {"ne", CompareTest<Comparison::kNotEqual>},
      {">", CompareTest<Comparison::kGreater>},
      {"gt", CompareTest<Comparison::kGreater>},
      {"greaterthan", CompareTest<Comparison::kGreater>},
      {">=", CompareTest<Comparison::kGreaterEqual>},
      {"ge", CompareTest<Comparison::kGreaterEqual>},
      {"<", CompareTest<Comparison::kLess>},
      {"lt", CompareTest<Comparison::kLess>},
      {"lessthan", CompareTest<Comparison::kLess>},
      {"<=", CompareTest<Comparison::kLessEqual>},
      {"le", CompareTest<Comparison::kLessEqual>}};
  for (const auto& [known, test] : kTests) {
    if (known == name) return test;
  }
  return nullptr;
}

}  // namespace gannet::jinja
