#include <fmt/format.h>

#include <algorithm>

#include "chat/jinja/filters.h"
#include "chat/jinja/interpreter.h"
#include "chat/jinja/print.h"

namespace gannet::jinja {

Value Interpreter::Eval(const Expr& expr) {
  const Nested nested(fuel_);
  fuel_.Charge();
  switch (expr.kind) {
    case ExprKind::kConstant:
      return expr.constant;
    case ExprKind::kName:
      return LookUp(expr.name);
    case ExprKind::kTuple:
    case ExprKind::kList:
      return EvalSequence(expr);
    case ExprKind::kDict:
      return EvalDict(expr);
    case ExprKind::kAttribute: {
      const Value object = Eval(*expr.children[0]);
      line_ = expr.line;
      return GetAttribute(object, expr.name);
    }
    case ExprKind::kSubscript:
      return EvalSubscript(expr);
    case ExprKind::kCall:
      return EvalCall(expr);
    case ExprKind::kFilter:
      return EvalFilter(expr, nullptr);
    case ExprKind::kTest:
      return EvalTest(expr);
    case ExprKind::kUnary:
      return EvalUnary(expr);
    case ExprKind::kBinary: {
      const Value a = Eval(*expr.children[0]);
      const Value b = Eval(*expr.children[1]);
      line_ = expr.line;
      return Binary(expr.op, a, b, *this);
    }
    case ExprKind::kConcat:
      return EvalConcat(expr);
    case ExprKind::kAnd: {
      Value a = Eval(*expr.children[0]);
      return a.Truthy() ? Eval(*expr.children[1]) : a;
    }
    case ExprKind::kOr: {
      Value a = Eval(*expr.children[0]);
      return a.Truthy() ? a : Eval(*expr.children[1]);
    }
    case ExprKind::kCompare:
      return EvalCompare(expr);
    case ExprKind::kCondition:
      return EvalCondition(expr);
    case ExprKind::kSlice:
    case ExprKind::kNamespaceRef:
      break;
  }
  Fail("a slice stands where none can be");
}

Value Interpreter::LookUp(std::string_view name) {
  for (const Scope* scope = scope_.get(); scope != nullptr; scope = scope->parent.get()) {
    fuel_.Charge(static_cast<int64_t>(scope->variables.size() / 64));
    if (const Value* value = scope->Find(name)) return *value;
  }
  if (const Value* value = context_.Find(name)) return *value;
  if (const Value* value = FindGlobal(name)) return *value;
  if (name == "self") Fail("'self' is not supported");
  return Value::Undefined(fmt::format("'{}' is undefined", name));
}

Value Interpreter::EvalSequence(const Expr& expr) {
  std::vector<Value> items;
  items.reserve(expr.children.size());
  for (const ExprPtr& child : expr.children) items.push_back(Eval(*child));
  return Value::Sequence(expr.kind == ExprKind::kTuple ? Kind::kTuple : Kind::kList, std::move(items));
}

Value Interpreter::EvalDict(const Expr& expr) {
  Dict dict;
  for (size_t i = 0; i + 1 < expr.children.size(); i += 2) {
    Value key = Eval(*expr.children[i]);
    dict.Set(std::move(key), Eval(*expr.children[i + 1]), fuel_);
  }
  return MakeDict(std::move(dict));
}

Value Interpreter::EvalSubscript(const Expr& expr) {
  const Value object = Eval(*expr.children[0]);
  const Expr& index = *expr.children[1];
  if (index.kind == ExprKind::kSlice) return EvalSlice(object, index);
  const Value key = Eval(index);
  line_ = expr.line;
  return GetItem(object, key);
}

Value Interpreter::EvalSlice(const Value& object, const Expr& slice) {
  Value parts[3];
  for (size_t i = 0; i < 3; ++i) {
    if (slice.children[i]) parts[i] = Eval(*slice.children[i]);
  }
  line_ = slice.line;
  return Slice(object, parts[0], parts[1], parts[2], fuel_);
}

Arguments Interpreter::EvalArguments(const CallArguments& call) {
  Arguments arguments;
  arguments.positional.reserve(call.positional.size());
  for (const ExprPtr& expr : call.positional) arguments.positional.push_back(Eval(*expr));
  for (const auto& [name, expr] : call.named) arguments.named.emplace_back(name, Eval(*expr));
  if (call.star) {
    for (Value& item : Iterate(Eval(*call.star))) arguments.positional.push_back(std::move(item));
  }
  if (call.double_star) {
    const Value extra = Eval(*call.double_star);
    if (!extra.is(Kind::kDict)) Fail("an argument after ** must be a mapping");
    fuel_.Grow(DictOf(extra).size() * 64 * (1 + arguments.named.size()));
    for (const auto& [key, value] : DictOf(extra).items()) {
      if (!key.is_string()) Fail("keywords must be strings");
      for (const auto& [name, other] : arguments.named) {
        if (name == key.as_string()) Fail(fmt::format("got multiple values for keyword argument '{}'", name));
      }
      arguments.named.emplace_back(key.as_string(), value);
    }
  }
  return arguments;
}

Value Interpreter::EvalCall(const Expr& expr) {
  const Value callee = Eval(*expr.children[0]);
  Arguments arguments = EvalArguments(expr.call);
  line_ = expr.line;
  return Call(callee, std::move(arguments));
}

Value Interpreter::Call(const Value& callee, Arguments arguments) {
  switch (callee.kind()) {
    case Kind::kMacro:
      return CallMacro(callee.as<MacroObject>(), std::move(arguments));
    case Kind::kMethod: {
      const auto& method = callee.as<MethodObject>();
      return CallMethod(method.self, method.name, arguments);
    }
    case Kind::kFunction:
      return callee.as<FunctionObject>().body(*this, arguments);
    case Kind::kUndefined:
      Fail(callee.as<UndefinedObject>().message);
    case Kind::kLoop:
      Fail("a recursive loop is not supported");
    default:
      Fail(fmt::format("'{}' object is not callable", callee.TypeName()));
  }
}

Value Interpreter::EvalFilter(const Expr& expr, const Value* input) {
  Value value = expr.children[0] ? (expr.children[0]->kind == ExprKind::kFilter ? EvalFilter(*expr.children[0], input)
                                                                                : Eval(*expr.children[0]))
                                 : *input;
  const Arguments arguments = EvalArguments(expr.call);
  line_ = expr.line;
  return Filter(expr.name, value, arguments);
}

Value Interpreter::Filter(const std::string& name, const Value& input, const Arguments& arguments) {
  const Nested nested(fuel_);
  const FilterFunction filter = FindFilter(name);
  if (!filter) Fail(fmt::format("the filter '{}' is unknown or not supported", name));
  fuel_.Charge(2);
  return filter(*this, input, arguments);
}

bool Interpreter::Test(const std::string& name, const Value& input, const Arguments& arguments) {
  const TestFunction test = FindTest(name);
  if (!test) Fail(fmt::format("the test '{}' is unknown or not supported", name));
  fuel_.Charge();
  return test(*this, input, arguments);
}

Value Interpreter::EvalTest(const Expr& expr) {
  const Value input = Eval(*expr.children[0]);
  const Arguments arguments = EvalArguments(expr.call);
  line_ = expr.line;
  return Test(expr.name, input, arguments);
}

Value Interpreter::EvalUnary(const Expr& expr) {
  const Value value = Eval(*expr.children[0]);
  if (expr.op == 'n') return !value.Truthy();
  line_ = expr.line;
  if (value.is_undefined()) Fail(value.as<UndefinedObject>().message);
  if (!value.is_number()) Fail(fmt::format("bad operand type for unary {}: '{}'", expr.op, value.TypeName()));
  if (value.is(Kind::kFloat)) return expr.op == '-' ? -value.as_double() : value.as_double();
  return expr.op == '-' ? Binary('-', Value(0), value, *this) : Value(value.as_int());
}

Value Interpreter::EvalConcat(const Expr& expr) {
  std::string text;
  for (const ExprPtr& child : expr.children) Append(ToText(Eval(*child)), text);
  return Value(std::move(text));
}

Value Interpreter::EvalCompare(const Expr& expr) {
  Value left = Eval(*expr.children[0]);
  for (size_t i = 0; i < expr.comparisons.size(); ++i) {
    Value right = Eval(*expr.children[i + 1]);
    line_ = expr.line;
    if (!Compare(expr.comparisons[i], left, right, *this)) return false;
    left = std::move(right);
  }
  return true;
}

Value Interpreter::EvalCondition(const Expr& expr) {
  if (Eval(*expr.children[0]).Truthy()) return Eval(*expr.children[1]);
  if (expr.children[2]) return Eval(*expr.children[2]);
  return Value::Undefined(fmt::format(
      "the inline if-expression on line {} evaluated to false and no else section was defined.", expr.line));
}

std::vector<Value> Interpreter::Iterate(const Value& iterable) {
  switch (iterable.kind()) {
    case Kind::kUndefined:
      return {};
    case Kind::kList:
    case Kind::kTuple:
    case Kind::kRange:
    case Kind::kView:
      fuel_.Charge(static_cast<int64_t>(iterable.items().size()));
      return iterable.items();
    case Kind::kGenerator: {
      auto& generator = iterable.as<SequenceObject>();
      fuel_.Charge(static_cast<int64_t>(generator.items.size() - generator.next));
      const size_t from = std::exchange(generator.next, generator.items.size());
      return {generator.items.begin() + static_cast<ptrdiff_t>(from), generator.items.end()};
    }
    case Kind::kDict: {
      std::vector<Value> keys;
      fuel_.Charge(static_cast<int64_t>(DictOf(iterable).size()));
      for (const auto& [key, value] : DictOf(iterable).items()) keys.push_back(key);
      return keys;
    }
    case Kind::kString:
      return Characters(iterable.as_string(), fuel_);
    default:
      Fail(fmt::format("'{}' object is not iterable", iterable.TypeName()));
  }
}

}  // namespace gannet::jinja
