// The functions every template can call, and how arguments meet a signature.
#include <fmt/format.h>

#include <algorithm>

#include "chat/jinja/filters.h"
#include "chat/jinja/interpreter.h"
#include "chat/jinja/print.h"

namespace gannet::jinja {
namespace {

Value Range(Interpreter& interpreter, const Arguments& arguments) {
  const Bound args("range", arguments, {"start", "stop", "step"}, 1);
  if (!arguments.named.empty()) Fail("range() takes no keyword arguments");
  for (const Value& value : arguments.positional) {
    if (value.is_undefined()) Fail(value.as<UndefinedObject>().message);
    if (!value.is_integer()) {
      Fail(fmt::format("'{}' object cannot be interpreted as an integer", value.TypeName()));
    }
  }
  const bool one = !args.has(1);
  return MakeRange(one ? Int{0} : args.at(0).as_int(), args.at(one ? 0 : 1).as_int(),
                   args.has(2) ? args.at(2).as_int() : Int{1}, interpreter.fuel());
}

// dict(mapping or pairs, **more), and the same of a namespace.
Dict CollectDict(Interpreter& interpreter, const Arguments& arguments) {
  Fuel& fuel = interpreter.fuel();
  Dict dict;
  if (arguments.positional.size() > 1) {
    Fail(fmt::format("dict expected at most 1 argument, got {}", arguments.positional.size()));
  }
  if (!arguments.positional.empty()) {
    const Value& source = arguments.positional[0];
    if (source.is(Kind::kDict)) {
      fuel.Charge(static_cast<int64_t>(DictOf(source).size()));
      dict = DictOf(source);
    } else {
      for (const Value& pair : interpreter.Iterate(source)) {
        const std::vector<Value> both = interpreter.Iterate(pair);
        if (both.size() != 2) Fail("a dict is made of pairs of a key and a value");
        dict.Set(both[0], both[1], fuel);
      }
    }
  }
  for (const auto& [name, value] : arguments.named) dict.Set(Value(name), value, fuel);
  return dict;
}

Value MakeDictFunction(Interpreter& interpreter, const Arguments& arguments) {
  return MakeDict(CollectDict(interpreter, arguments));
}

Value MakeNamespaceFunction(Interpreter& interpreter, const Arguments& arguments) {
  Dict dict = CollectDict(interpreter, arguments);
  for (const auto& [key, value] : dict.items()) {
    if (key.is_string() && key.as_string().starts_with('_')) {
      Fail(fmt::format("a namespace takes no attribute that begins with an underscore, but got {}",
                       StringRepr(key.as_string())));
    }
  }
  return interpreter.MakeNamespace(std::move(dict));
}

Value RaiseException(Interpreter& interpreter, const Arguments& arguments) {
  const Bound args("raise_exception", arguments, {"message"}, 1);
  throw Failure{interpreter.ToText(args.at(0)), true};
}

Value StrftimeNow(Interpreter& interpreter, const Arguments& arguments) {
  const Bound args("strftime_now", arguments, {"format"}, 1);
  const std::string& format = args.String(0);
  if (format.size() > 256) Fail("strftime_now() takes a format of at most 256 bytes");
  char buffer[4096];
  const std::string padded = format + " ";  // an empty result is no error then
  const size_t size = std::strftime(buffer, sizeof buffer, padded.c_str(), &interpreter.now());
  if (size == 0) Fail("strftime_now() makes too long a text");
  return Value(std::string(buffer, size - 1));
}

}  // namespace

const Value* FindGlobal(std::string_view name) {
  static const std::vector<std::pair<std::string, Value>> kGlobals = [] {
    std::vector<std::pair<std::string, Value>> globals;
    const auto add = [&](const char* function, FunctionObject::Body body) {
      globals.emplace_back(function, Value(std::make_shared<FunctionObject>(function, body)));
    };
    add("range", Range);
    add("dict", MakeDictFunction);
    add("namespace", MakeNamespaceFunction);
    add("raise_exception", RaiseException);
    add("strftime_now", StrftimeNow);
    return globals;
  }();
  for (const auto& [known, value] : kGlobals) {
    if (known == name) return &value;
  }
  return nullptr;
}

Bound::Bound(std::string_view what, const Arguments& arguments, std::initializer_list<std::string_view> names,
             size_t required)
    : what_(what), names_(names), values_(names.size()) {
  if (arguments.positional.size() > names_.size()) {
    Fail(fmt::format("{}() takes at most {} argument(s), {} given", what_, names_.size(), arguments.positional.size()));
  }
  for (size_t i = 0; i < arguments.positional.size(); ++i) values_[i] = arguments.positional[i];
  for (const auto& [name, value] : arguments.named) {
    const auto found = std::find(names_.begin(), names_.end(), name);
    if (found == names_.end()) Fail(fmt::format("{}() has no argument named '{}'", what_, name));
    auto& slot = values_[static_cast<size_t>(found - names_.begin())];
    if (slot) Fail(fmt::format("{}() got multiple values for argument '{}'", what_, name));
    slot = value;
  }
  for (size_t i = 0; i < required; ++i) {
    if (!values_[i]) Fail(fmt::format("{}() is missing the argument '{}'", what_, names_[i]));
  }
}

int64_t ToInt64(const Value& value, std::string_view what) {
  if (value.is_undefined()) Fail(value.as<UndefinedObject>().message);
  if (!value.is_integer()) Fail(fmt::format("{} must be an integer, not {}", what, value.TypeName()));
  const Int number = value.as_int();
  if (number > INT64_MAX || number < INT64_MIN) Fail(fmt::format("{} is too large", what));
  return static_cast<int64_t>(number);
}

int64_t Bound::Integer(size_t i, int64_t otherwise) const {
  return has(i) ? ToInt64(at(i), fmt::format("the argument '{}' of {}()", names_[i], what_)) : otherwise;
}

const std::string& Bound::String(size_t i) const {
  if (at(i).is_undefined()) Fail(at(i).as<UndefinedObject>().message);
  if (!at(i).is_string()) {
    Fail(fmt::format("the argument '{}' of {}() must be str, not {}", names_[i], what_, at(i).TypeName()));
  }
  return at(i).as_string();
}

}  // namespace gannet::jinja
