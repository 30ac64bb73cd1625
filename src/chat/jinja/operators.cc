#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "chat/jinja/filters.h"
#include "chat/jinja/interpreter.h"
#include "chat/jinja/print.h"
#include "chat/jinja/text.h"

namespace gannet::jinja {
namespace {

[[noreturn]] void FailOperands(std::string_view op, const Value& a, const Value& b) {
  for (const Value* side : {&a, &b}) {
    if (side->is_undefined()) Fail(side->as<UndefinedObject>().message);
  }
  Fail(fmt::format("unsupported operand type(s) for {}: '{}' and '{}'", op, a.TypeName(), b.TypeName()));
}

[[noreturn]] void FailTooLarge() { Fail("an integer becomes too large"); }

Value Multiply(const Value& a, const Value& b, Fuel& fuel) {
  if (a.is_number() && b.is_number()) {
    if (a.is(Kind::kFloat) || b.is(Kind::kFloat)) return a.as_double() * b.as_double();
    Int product = 0;
    if (__builtin_mul_overflow(a.as_int(), b.as_int(), &product)) FailTooLarge();
    return product;
  }
  const bool swapped = a.is_integer();
  const Value& body = swapped ? b : a;
  const Value& times = swapped ? a : b;
  const bool repeats = body.is_string() || body.is(Kind::kList) || body.is(Kind::kTuple);
  if (!repeats || !times.is_integer()) FailOperands("*", a, b);
  const size_t size = body.is_string() ? body.as_string().size() : body.items().size() * 64;
  const Int count = std::max<Int>(times.as_int(), 0);
  if (size > 0 && count > (Int{1} << 40)) fuel.Grow(SIZE_MAX);
  const auto n = size > 0 ? static_cast<size_t>(count) : 0;
  fuel.Fits(n);
  fuel.Grow(n * size);
  if (body.is_string()) {
    std::string out;
    out.reserve(n * size);
    for (size_t i = 0; i < n; ++i) out += body.as_string();
    return Value(std::move(out));
  }
  std::vector<Value> items;
  for (size_t i = 0; i < n; ++i) items.insert(items.end(), body.items().begin(), body.items().end());
  return Value::Sequence(body.kind(), std::move(items));
}

double NonZero(double value) {
  if (value == 0) Fail("division by zero");
  return value;
}

Value FloorDivide(const Value& a, const Value& b) {
  if (a.is(Kind::kFloat) || b.is(Kind::kFloat)) return std::floor(a.as_double() / NonZero(b.as_double()));
  const Int x = a.as_int();
  const Int y = b.as_int();
  if (y == 0) Fail("integer division or modulo by zero");
  if (y == -1) return Int{0} == x ? Value(Int{0}) : Value(-x);
  return x / y - (x % y != 0 && (x < 0) != (y < 0) ? 1 : 0);
}

Value Modulo(const Value& a, const Value& b) {
  if (a.is(Kind::kFloat) || b.is(Kind::kFloat)) {
    const double y = NonZero(b.as_double());
    const double rest = std::fmod(a.as_double(), y);
    return rest != 0 && (rest < 0) != (y < 0) ? rest + y : rest;
  }
  const Int x = a.as_int();
  const Int y = b.as_int();
  if (y == 0) Fail("integer modulo by zero");
  if (y == -1) return Int{0};
  const Int rest = x % y;
  return rest != 0 && (rest < 0) != (y < 0) ? rest + y : rest;
}

Value Power(const Value& a, const Value& b) {
  if (a.is(Kind::kFloat) || b.is(Kind::kFloat) || b.as_int() < 0) {
    if (a.as_double() == 0 && b.as_double() < 0) Fail("0.0 cannot be raised to a negative power");
    if (a.as_double() < 0 && std::floor(b.as_double()) != b.as_double()) Fail("complex numbers are not supported");
    const double power = std::pow(a.as_double(), b.as_double());
    if (std::isinf(power) && !std::isinf(a.as_double()) && !std::isinf(b.as_double())) FailTooLarge();
    return power;
  }
  Int result = 1;
  Int base = a.as_int();
  for (Int exponent = b.as_int(); exponent > 0; exponent >>= 1) {
    if ((exponent & 1) && __builtin_mul_overflow(result, base, &result)) FailTooLarge();
    if (exponent > 1 && __builtin_mul_overflow(base, base, &base)) {
      FailTooLarge();
    }
  }
  return result;
}

}  // namespace

Value Add(const Value& a, const Value& b, Fuel& fuel) {
  if (a.is_number() && b.is_number()) {
    if (a.is(Kind::kFloat) || b.is(Kind::kFloat)) return a.as_double() + b.as_double();
    Int sum = 0;
    if (__builtin_add_overflow(a.as_int(), b.as_int(), &sum)) FailTooLarge();
    return sum;
  }
  if (a.is_string() && b.is_string()) {
    fuel.Grow(a.as_string().size() + b.as_string().size());
    if (a.is_markup() == b.is_markup()) {
      std::string sum = a.as_string() + b.as_string();
      return a.is_markup() ? Value::Markup(std::move(sum)) : Value(std::move(sum));
    }
    const auto safe = [](const Value& v) { return v.is_markup() ? v.as_string() : EscapeHtml(v.as_string()); };
    return Value::Markup(safe(a) + safe(b));
  }
  if (a.kind() == b.kind() && (a.is(Kind::kList) || a.is(Kind::kTuple))) {
    fuel.Grow((a.items().size() + b.items().size()) * 64);
    std::vector<Value> items = a.items();
    items.insert(items.end(), b.items().begin(), b.items().end());
    return Value::Sequence(a.kind(), std::move(items));
  }
  if (a.is_string() && !b.is_undefined()) {
    Fail(fmt::format("can only concatenate str (not \"{}\") to str", b.TypeName()));
  }
  FailOperands("+", a, b);
}

Value Binary(char op, const Value& a, const Value& b, Interpreter& interpreter) {
  if (op == '+') return Add(a, b, interpreter.fuel());
  if (op == '*') return Multiply(a, b, interpreter.fuel());
  if (op == '%' && a.is_string()) return Value(FormatPercent(a.as_string(), b, interpreter));
  if (!a.is_number() || !b.is_number()) {
    FailOperands(op == 'f' ? "//" : op == 'p' ? "** or pow()" : std::string_view(&op, 1), a, b);
  }
  switch (op) {
    case '-': {
      if (a.is(Kind::kFloat) || b.is(Kind::kFloat)) return a.as_double() - b.as_double();
      Int difference = 0;
      if (__builtin_sub_overflow(a.as_int(), b.as_int(), &difference)) FailTooLarge();
      return difference;
    }
    case '/':
      return a.as_double() / NonZero(b.as_double());
    case 'f':
      return FloorDivide(a, b);
    case '%':
      return Modulo(a, b);
    default:
      return Power(a, b);
  }
}

bool In(const Value& item, const Value& container, Interpreter& interpreter) {
  Fuel& fuel = interpreter.fuel();
  switch (container.kind()) {
    case Kind::kUndefined:
      return false;
    case Kind::kString: {
      if (!item.is_string()) {
        Fail(fmt::format("'in <string>' requires string as left operand, not {}", item.TypeName()));
      }
      fuel.Grow(container.as_string().size());
      return container.as_string().find(item.as_string()) != std::string::npos;
    }
    case Kind::kDict:
      return DictOf(container).Find(item, fuel) != nullptr;
    case Kind::kList:
    case Kind::kTuple:
    case Kind::kRange:
    case Kind::kView: {
      const auto& items = container.items();
      return std::any_of(items.begin(), items.end(), [&](const Value& v) { return Equal(v, item, fuel); });
    }
    case Kind::kGenerator: {
      auto& generator = container.as<SequenceObject>();
      while (generator.next < generator.items.size()) {
        if (Equal(generator.items[generator.next++], item, fuel)) return true;
      }
      return false;
    }
    default:
      Fail(fmt::format("argument of type '{}' is not iterable", container.TypeName()));
  }
}

bool Compare(Comparison comparison, const Value& a, const Value& b, Interpreter& interpreter) {
  Fuel& fuel = interpreter.fuel();
  switch (comparison) {
    case Comparison::kEqual:
      return Equal(a, b, fuel);
    case Comparison::kNotEqual:
      return !Equal(a, b, fuel);
    case Comparison::kIn:
      return In(a, b, interpreter);
    case Comparison::kNotIn:
      return !In(a, b, interpreter);
    default:
      break;
  }
  if (a.is_number() && b.is_number() && (std::isnan(a.as_double()) || std::isnan(b.as_double()))) return false;
  switch (comparison) {
    case Comparison::kLess:
      return Less(a, b, fuel);
    case Comparison::kGreater:
      return Less(b, a, fuel);
    case Comparison::kLessEqual:
      return !Less(b, a, fuel);
    default:
      return !Less(a, b, fuel);
  }
}

std::vector<Value> Characters(std::string_view text, Fuel& fuel) {
  fuel.Fits(text.size());
  fuel.Charge(static_cast<int64_t>(text.size()));
  std::vector<Value> characters;
  for (size_t at = 0; at < text.size();) {
    const size_t start = at;
    NextCodePoint(text, at);
    characters.emplace_back(text.substr(start, at - start));
  }
  return characters;
}

Value MakeRange(Int start, Int stop, Int step, Fuel& fuel) {
  constexpr Int kMaxRange = 100'000;  // the sandbox's MAX_RANGE
  constexpr Int kBound = Int{1} << 100;
  if (step == 0) Fail("range() arg 3 must not be zero");
  if (std::max({start, stop, step}) > kBound || std::min({start, stop, step}) < -kBound) FailTooLarge();
  const Int span = step > 0 ? stop - start : start - stop;
  const Int stride = step > 0 ? step : -step;
  const Int count = span <= 0 ? 0 : (span + stride - 1) / stride;
  if (count > kMaxRange) Fail("Range too big. The sandbox blocks ranges larger than MAX_RANGE (100000).");
  fuel.Charge(static_cast<int64_t>(count));
  std::vector<Value> items;
  for (Int i = 0; i < count; ++i) items.emplace_back(start + i * step);
  std::string label = "range(" + IntToString(start) + ", " + IntToString(stop);
  if (step != 1) label += ", " + IntToString(step);
  return Value::Sequence(Kind::kRange, std::move(items), label + ")");
}

Value Slice(const Value& object, const Value& start, const Value& stop, const Value& step, Fuel& fuel) {
  if (object.is_undefined()) Fail(object.as<UndefinedObject>().message);
  const bool is_text = object.is_string();
  if (!is_text && !object.is(Kind::kList) && !object.is(Kind::kTuple) && !object.is(Kind::kRange)) {
    Fail(fmt::format("a '{}' object cannot be sliced", object.TypeName()));
  }
  for (const Value* part : {&start, &stop, &step}) {
    if (!part->is_none() && !part->is_integer()) Fail("slice indices must be integers or None");
  }
  const std::vector<size_t> offsets = is_text ? CodePointOffsets(object.as_string()) : std::vector<size_t>();
  if (is_text) fuel.Grow(object.as_string().size());
  const Int size = static_cast<Int>(is_text ? offsets.size() - 1 : object.items().size());
  const Int by = step.is_none() ? Int{1} : std::clamp(step.as_int(), -size - 1, size + 1);
  if (by == 0) {
    if (!step.is_none() && step.as_int() != 0) return Slice(object, start, stop, Value(1), fuel);
    Fail("slice step cannot be zero");
  }
  const auto clamp = [&](const Value& part, Int otherwise) {
    if (part.is_none()) return otherwise;
    const Int index = part.as_int();
    const Int low = by > 0 ? Int{0} : Int{-1};
    const Int high = by > 0 ? size : size - 1;
    return std::clamp(index < 0 ? std::max(index, -size - 1) + size : std::min(index, size + 1), low, high);
  };
  const Int from = clamp(start, by > 0 ? Int{0} : size - 1);
  const Int to = clamp(stop, by > 0 ? size : Int{-1});
  if (is_text) {
    const std::string& text = object.as_string();
    const auto byte = [&](Int i) { return offsets[static_cast<size_t>(i)]; };
    if (by == 1) return to > from ? Value(text.substr(byte(from), byte(to) - byte(from))) : Value("");
    std::string out;
    for (Int i = from; by > 0 ? i < to : i > to; i += by) out.append(text, byte(i), byte(i + 1) - byte(i));
    return Value(std::move(out));
  }
  std::vector<Value> items;
  for (Int i = from; by > 0 ? i < to : i > to; i += by) items.push_back(object.items()[static_cast<size_t>(i)]);
  fuel.Charge(static_cast<int64_t>(items.size()));
  if (object.is(Kind::kRange)) Fail("a range cannot be sliced; make it a list first");
  return Value::Sequence(object.kind(), std::move(items));
}

Value Interpreter::GetItem(const Value& object, const Value& key) {
  if (object.is_undefined()) Fail(object.as<UndefinedObject>().message);
  const bool indexed =
      object.is_string() || object.is(Kind::kList) || object.is(Kind::kTuple) || object.is(Kind::kRange);
  if (indexed && key.is_integer()) {
    const bool is_text = object.is_string();
    if (is_text) fuel_.Grow(object.as_string().size());
    const Int size = static_cast<Int>(is_text ? CountCodePoints(object.as_string()) : object.items().size());
    const Int index = key.as_int() < 0 && key.as_int() >= -size ? key.as_int() + size : key.as_int();
    if (index >= 0 && index < size) {
      return is_text ? Slice(object, Value(index), Value(index + 1), Value(), fuel_)
                     : object.items()[static_cast<size_t>(index)];
    }
  } else if (object.is(Kind::kDict)) {
    const bool hashable = !key.is(Kind::kList) && !key.is(Kind::kDict) && !key.is(Kind::kView);
    if (const Value* value = hashable ? DictOf(object).Find(key, fuel_) : nullptr) return *value;
  }
  if (!key.is_string()) {
    return Value::Undefined(object.ObjectTypeName() + " has no element " + Repr(key, fuel_));
  }
  if (object.is(Kind::kDict)) {
    if (!HasMethod(object, key.as_string())) {
      return Value::Undefined(fmt::format("'dict object' has no attribute {}", StringRepr(key.as_string())));
    }
  }
  return GetAttribute(object, key.as_string());
}

Value Interpreter::GetAttribute(const Value& object, const std::string& name) {
  if (object.is_undefined()) Fail(object.as<UndefinedObject>().message);
  const auto unsafe = [&] {
    return Value::Undefined(fmt::format("access to attribute '{}' of '{}' object is unsafe.", name, object.TypeName()));
  };
  if (HasMethod(object, name)) {
    if (IsMutating(object, name)) return unsafe();
    return Value(std::make_shared<MethodObject>(object, name));
  }
  if (object.is(Kind::kDict)) {
    if (const Value* value = DictOf(object).Find(name)) return *value;
  } else if (object.is(Kind::kNamespace)) {
    if (const Value* value = object.as<NamespaceObject>().dict.Find(name)) return *value;
  } else if (object.is(Kind::kLoop)) {
    return object.as<LoopObject>().Attribute(name);
  } else if (object.is(Kind::kTuple) && object.as<SequenceObject>().label == "group") {
    if (name == "grouper" || name == "list") return object.items()[name == "list" ? 1 : 0];
  } else if (object.is(Kind::kMacro) && name == "name") {
    return Value(object.as<MacroObject>().node->name);
  }
  if (name.size() > 4 && name.starts_with("__") && name.ends_with("__")) return unsafe();
  return Value::Undefined(fmt::format("'{}' has no attribute '{}'", object.ObjectTypeName(), name));
}

}  // namespace gannet::jinja
