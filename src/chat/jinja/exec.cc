#include <fmt/format.h>

#include <algorithm>

#include "chat/jinja/interpreter.h"
#include "chat/jinja/print.h"

namespace gannet::jinja {

void Scope::Set(std::string_view name, Value value) {
  for (auto& [known, held] : variables) {
    if (known == name) {
      held = std::move(value);
      return;
    }
  }
  variables.emplace_back(name, std::move(value));
}

const Value* Scope::Find(std::string_view name) const {
  for (const auto& [known, held] : variables) {
    if (known == name) return &held;
  }
  return nullptr;
}

std::optional<Value> LoopObject::Draw() {
  while (at < source.size()) {
    const Value& item = source[at++];
    if (!filtered || interpreter.LoopTest(*this, item)) return item;
  }
  return std::nullopt;
}

const std::optional<Value>& LoopObject::Peek() {
  if (!after) after = Draw();
  return after;
}

bool LoopObject::Advance() {
  std::optional<Value> next = after ? std::exchange(after, std::nullopt) : Draw();
  if (!next) return false;
  ++index;
  before = std::exchange(current, std::move(next));
  return true;
}

int64_t LoopObject::Length() {
  if (filtered) {
    std::vector<Value> rest;
    while (auto item = Draw()) rest.push_back(std::move(*item));
    filtered = false;
    // What was drawn before only counts; its place is filled.
    std::vector<Value> all(static_cast<size_t>(index + 1 + (after ? 1 : 0)));
    at = all.size();
    all.insert(all.end(), std::make_move_iterator(rest.begin()), std::make_move_iterator(rest.end()));
    source = std::move(all);
  }
  return static_cast<int64_t>(source.size());
}

Value LoopObject::Attribute(std::string_view name) {
  if (name == "index") return index + 1;
  if (name == "index0") return index;
  if (name == "first") return index == 0;
  if (name == "last") return !Peek().has_value();
  if (name == "length") return Length();
  if (name == "revindex") return Length() - index;
  if (name == "revindex0") return Length() - index - 1;
  if (name == "depth") return 1;
  if (name == "depth0") return 0;
  if (name == "previtem") return index == 0 ? Value::Undefined("there is no previous item") : *before;
  if (name == "nextitem") return Peek() ? *Peek() : Value::Undefined("there is no next item");
  return Value::Undefined(fmt::format("'jinja2.runtime.LoopContext object' has no attribute '{}'", name));
}

Interpreter::Interpreter(const Dict& context, const std::tm& now, const Limits& limits)
    : context_(context), now_(now), fuel_(limits), scope_(std::make_shared<Scope>(nullptr)) {}

Interpreter::~Interpreter() {
  for (const ScopePtr& scope : captured_scopes_) scope->variables.clear();
  for (const auto& object : namespaces_) static_cast<NamespaceObject&>(*object).dict.Clear();
}

std::string Interpreter::Render(const Block& body) {
  std::string out;
  Run(body, out);
  return out;
}

std::string Interpreter::ToText(const Value& value) { return Str(value, fuel_); }

void Interpreter::Append(std::string_view text, std::string& out) {
  fuel_.Fits(out.size() + text.size());
  fuel_.Grow(text.size());
  out += text;
}

Interpreter::Flow Interpreter::Run(const Block& block, std::string& out) {
  for (const auto& statement : block) {
    const Flow flow = RunStatement(*statement, out);
    if (flow != Flow::kNext) return flow;
  }
  return Flow::kNext;
}

Interpreter::Flow Interpreter::RunStatement(const Statement& statement, std::string& out) {
  const Nested nested(fuel_);
  fuel_.Charge();
  line_ = statement.line;
  switch (statement.kind) {
    case StatementKind::kText:
      Append(statement.text, out);
      return Flow::kNext;
    case StatementKind::kOutput: {
      const Value value = Eval(*statement.expr);
      if (value.is_string()) {
        Append(value.as_string(), out);
      } else {
        Append(ToText(value), out);
      }
      return Flow::kNext;
    }
    case StatementKind::kFor:
      return RunFor(statement, out);
    case StatementKind::kIf:
      return RunIf(statement, out);
    case StatementKind::kSet:
      Assign(*statement.target, Eval(*statement.expr));
      return Flow::kNext;
    case StatementKind::kSetBlock:
      RunSetBlock(statement);
      return Flow::kNext;
    case StatementKind::kWith:
      RunWith(statement, out);
      return Flow::kNext;
    case StatementKind::kMacro:
      scope_->Set(statement.macro->name, MakeMacro(*statement.macro));
      return Flow::kNext;
    case StatementKind::kCallBlock:
      RunCallBlock(statement, out);
      return Flow::kNext;
    case StatementKind::kFilterBlock: {
      std::string body;
      RunInScope(statement.body, std::make_shared<Scope>(scope_), body);
      const Value input(std::move(body));
      Append(ToText(EvalFilter(*statement.expr, &input)), out);
      return Flow::kNext;
    }
    case StatementKind::kScope:
      return RunInScope(statement.body, std::make_shared<Scope>(scope_), out);
    case StatementKind::kBreak:
      return Flow::kBreak;
    case StatementKind::kContinue:
      return Flow::kContinue;
  }
  return Flow::kNext;
}

Interpreter::Flow Interpreter::RunInScope(const Block& block, ScopePtr scope, std::string& out) {
  ScopePtr outer = std::exchange(scope_, std::move(scope));
  const Flow flow = Run(block, out);  // a failure ends the rendering, so nothing is restored then
  scope_ = std::move(outer);
  return flow;
}

Interpreter::Flow Interpreter::RunIf(const Statement& statement, std::string& out) {
  for (const auto& [test, body] : statement.branches) {
    if (Eval(*test).Truthy()) return Run(body, out);
  }
  return Run(statement.else_body, out);
}

bool Interpreter::LoopTest(const LoopObject& loop, const Value& item) {
  fuel_.Charge();
  ScopePtr outer = std::exchange(scope_, std::make_shared<Scope>(loop.outer));
  Assign(*loop.statement.target, item);
  const bool passes = Eval(*loop.statement.test).Truthy();
  scope_ = std::move(outer);
  return passes;
}

Interpreter::Flow Interpreter::RunFor(const Statement& statement, std::string& out) {
  const ScopePtr outer = scope_;
  const auto loop = std::make_shared<LoopObject>(*this, statement, Iterate(Eval(*statement.expr)), outer);
  bool completed = false;  // jinja2 runs `else` when no round reached its end, be it by `continue` or `break`
  while (loop->Advance()) {
    fuel_.Charge();
    scope_ = std::make_shared<Scope>(outer);
    Assign(*statement.target, *loop->current);
    scope_->Set("loop", Value(loop));
    const Flow flow = Run(statement.body, out);
    scope_ = outer;
    if (flow == Flow::kBreak) break;
    completed |= flow == Flow::kNext;
  }
  if (!completed) RunInScope(statement.else_body, std::make_shared<Scope>(outer), out);
  return Flow::kNext;
}

void Interpreter::RunWith(const Statement& statement, std::string& out) {
  auto scope = std::make_shared<Scope>(scope_);
  std::vector<Value> values;
  for (const auto& [target, expr] : statement.assignments) values.push_back(Eval(*expr));
  ScopePtr outer = std::exchange(scope_, scope);
  for (size_t i = 0; i < values.size(); ++i) Assign(*statement.assignments[i].first, std::move(values[i]));
  Run(statement.body, out);
  scope_ = std::move(outer);
}

void Interpreter::RunSetBlock(const Statement& statement) {
  std::string body;
  RunInScope(statement.body, std::make_shared<Scope>(scope_), body);
  Value value(std::move(body));
  if (statement.expr) value = EvalFilter(*statement.expr, &value);
  Assign(*statement.target, std::move(value));
}

void Interpreter::Assign(const Expr& target, Value value) {
  if (target.kind == ExprKind::kName) {
    fuel_.Charge(1 + static_cast<int64_t>(scope_->variables.size() / 64));
    scope_->Set(target.name, std::move(value));
    return;
  }
  if (target.kind == ExprKind::kNamespaceRef) {
    const Value object = LookUp(target.name);
    if (!object.is(Kind::kNamespace)) Fail("cannot assign attribute on non-namespace object");
    if (target.attribute.starts_with('_')) {
      Fail(
          fmt::format("a namespace takes no attribute that begins with an underscore, but got '{}'", target.attribute));
    }
    object.as<NamespaceObject>().dict.Set(Value(target.attribute), std::move(value), fuel_);
    return;
  }
  const std::vector<Value> items = Iterate(value);
  if (items.size() != target.children.size()) {
    Fail(fmt::format("expected {} values to unpack, got {}", target.children.size(), items.size()));
  }
  for (size_t i = 0; i < items.size(); ++i) Assign(*target.children[i], items[i]);
}

Value Interpreter::MakeMacro(const MacroNode& node) {
  if (captured_scopes_.empty() || captured_scopes_.back() != scope_) captured_scopes_.push_back(scope_);
  return Value(std::make_shared<MacroObject>(&node, scope_));
}

Value Interpreter::MakeNamespace(Dict values) {
  auto object = std::make_shared<NamespaceObject>(std::move(values));
  namespaces_.push_back(object);
  return Value(std::move(object));
}

void Interpreter::RunCallBlock(const Statement& statement, std::string& out) {
  const Value callee = Eval(*statement.expr->children[0]);
  Arguments arguments = EvalArguments(statement.expr->call);
  arguments.named.emplace_back("caller", MakeMacro(*statement.macro));
  Append(ToText(Call(callee, std::move(arguments))), out);
}

// jinja2.runtime.Macro.__call__, in its order.
Value Interpreter::CallMacro(const MacroObject& macro, Arguments arguments) {
  const Nested nested(fuel_);
  const MacroNode& node = *macro.node;
  auto scope = std::make_shared<Scope>(macro.scope);
  const auto take = [&](std::string_view name) -> std::optional<Value> {
    for (auto it = arguments.named.begin(); it != arguments.named.end(); ++it) {
      if (it->first != name) continue;
      Value value = std::move(it->second);
      arguments.named.erase(it);
      return value;
    }
    return std::nullopt;
  };
  const size_t count = node.parameters.size();
  const size_t given = std::min(count, arguments.positional.size());
  std::vector<std::optional<Value>> values(count);
  bool found_caller = given == count && std::count(node.parameters.begin(), node.parameters.end(), "caller") > 0;
  for (size_t i = 0; i < count; ++i) {
    if (i < given) {
      values[i] = arguments.positional[i];
    } else {
      values[i] = take(node.parameters[i]);
      found_caller |= node.parameters[i] == "caller";
    }
  }
  if (node.reads_caller && !found_caller) {
    scope->Set("caller", take("caller").value_or(Value::Undefined("No caller defined")));
  }
  if (node.reads_kwargs) {
    Dict kwargs;
    for (auto& [name, value] : arguments.named) kwargs.Set(Value(name), std::move(value), fuel_);
    scope->Set("kwargs", MakeDict(std::move(kwargs)));
  } else if (!arguments.named.empty()) {
    Fail(fmt::format("macro '{}' takes no keyword argument '{}'", node.name, arguments.named[0].first));
  }
  if (node.reads_varargs) {
    scope->Set("varargs", Value::Tuple({arguments.positional.begin() + static_cast<ptrdiff_t>(given),
                                        arguments.positional.end()}));
  } else if (arguments.positional.size() > count) {
    Fail(fmt::format("macro '{}' takes not more than {} argument(s)", node.name, count));
  }
  const int line = line_;
  ScopePtr outer = std::exchange(scope_, scope);
  const size_t first_default = count - node.defaults.size();
  for (size_t i = 0; i < count; ++i) {
    if (!values[i]) {
      values[i] = i >= first_default
                      ? Eval(*node.defaults[i - first_default])
                      : Value::Undefined(fmt::format("parameter '{}' was not provided", node.parameters[i]));
    }
    scope->Set(node.parameters[i], std::move(*values[i]));
  }
  std::string out;
  Run(node.body, out);
  scope_ = std::move(outer);
  line_ = line;
  return Value(std::move(out));
}

}  // namespace gannet::jinja
