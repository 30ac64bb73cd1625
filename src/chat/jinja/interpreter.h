// Runs a parsed template. One interpreter renders once.
#pragma once

#include <ctime>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "chat/jinja/ast.h"
#include "chat/jinja/value.h"

namespace gannet::jinja {

// Variables of a loop body, macro and the like; names live in the template.
struct Scope {
  explicit Scope(std::shared_ptr<Scope> p) : parent(std::move(p)) {}
  void Set(std::string_view name, Value value);
  const Value* Find(std::string_view name) const;

  std::shared_ptr<Scope> parent;
  std::vector<std::pair<std::string_view, Value>> variables;
};
using ScopePtr = std::shared_ptr<Scope>;

struct MacroObject : Object {
  MacroObject(const MacroNode* n, ScopePtr s) : Object(Kind::kMacro), node(n), scope(std::move(s)) {}
  const MacroNode* const node;
  const ScopePtr scope;
};

// jinja2's `loop`: items are drawn one by one, since an `if` of the loop may depend on what its body did.
struct LoopObject : Object {
  LoopObject(Interpreter& i, const Statement& s, std::vector<Value> v, ScopePtr o)
      : Object(Kind::kLoop),
        interpreter(i),
        statement(s),
        source(std::move(v)),
        outer(std::move(o)),
        filtered(s.test != nullptr) {}
  bool Advance();  // to the next item
  int64_t Length();
  Value Attribute(std::string_view name);

  Interpreter& interpreter;
  const Statement& statement;
  std::vector<Value> source;
  ScopePtr outer;
  bool filtered;
  size_t at = 0;  // of the next item to draw
  int64_t index = -1;
  std::optional<Value> before, current, after, changed;

 private:
  std::optional<Value> Draw();
  const std::optional<Value>& Peek();
};

class Interpreter {
 public:
  // `context`, `now` and the template outlive it. `now` is local time.
  Interpreter(const Dict& context, const std::tm& now, const Limits& limits);
  ~Interpreter();
  std::string Render(const Block& body);
  int line() const { return line_; }  // of what runs, for sentences about failures

  Fuel& fuel() { return fuel_; }
  const std::tm& now() const { return now_; }

  Value Call(const Value& callee, Arguments arguments);
  Value CallMethod(const Value& self, const std::string& name, const Arguments& arguments);
  Value Filter(const std::string& name, const Value& input, const Arguments& arguments);
  bool Test(const std::string& name, const Value& input, const Arguments& arguments);
  Value GetAttribute(const Value& object, const std::string& name);
  Value GetItem(const Value& object, const Value& key);
  // Everything an iterable holds; fails when it is none. Empties a generator.
  std::vector<Value> Iterate(const Value& iterable);
  Value MakeNamespace(Dict values);
  bool LoopTest(const LoopObject& loop, const Value& item);
  std::string ToText(const Value& value);  // Python's str

 private:
  enum class Flow { kNext, kBreak, kContinue };

  // exec.cc
  Flow Run(const Block& block, std::string& out);
  Flow RunStatement(const Statement& statement, std::string& out);
  Flow RunIf(const Statement& statement, std::string& out);
  Flow RunFor(const Statement& statement, std::string& out);
  Flow RunInScope(const Block& block, ScopePtr scope, std::string& out);
  void RunCallBlock(const Statement& statement, std::string& out);
  void RunWith(const Statement& statement, std::string& out);
  void RunSetBlock(const Statement& statement);
  void Assign(const Expr& target, Value value);
  void Append(std::string_view text, std::string& out);
  Value MakeMacro(const MacroNode& node);
  Value CallMacro(const MacroObject& macro, Arguments arguments);

  // eval.cc
  Value Eval(const Expr& expr);
  Value LookUp(std::string_view name);
  Value EvalSequence(const Expr& expr);
  Value EvalDict(const Expr& expr);
  Value EvalSubscript(const Expr& expr);
  Value EvalSlice(const Value& object, const Expr& slice);
  Value EvalCall(const Expr& expr);
  Value EvalFilter(const Expr& expr, const Value* input);
  Value EvalTest(const Expr& expr);
  Value EvalUnary(const Expr& expr);
  Value EvalConcat(const Expr& expr);
  Value EvalCompare(const Expr& expr);
  Value EvalCondition(const Expr& expr);
  Arguments EvalArguments(const CallArguments& call);

  const Dict& context_;
  const std::tm& now_;
  Fuel fuel_;
  int line_ = 1;
  ScopePtr scope_;
  // What could hold itself: emptied at the end.
  std::vector<ScopePtr> captured_scopes_;
  std::vector<std::shared_ptr<Object>> namespaces_;
};

// operators.cc. `op` as in Expr.
Value Binary(char op, const Value& a, const Value& b, Interpreter& interpreter);
Value Add(const Value& a, const Value& b, Fuel& fuel);
bool Compare(Comparison comparison, const Value& a, const Value& b, Interpreter& interpreter);
bool In(const Value& item, const Value& container, Interpreter& interpreter);
Value Slice(const Value& object, const Value& start, const Value& stop, const Value& step, Fuel& fuel);
std::vector<Value> Characters(std::string_view text, Fuel& fuel);
Value MakeRange(Int start, Int stop, Int step, Fuel& fuel);
// Whether a value of this kind has the method, and whether the sandbox refuses it.
bool HasMethod(const Value& object, std::string_view name);
bool IsMutating(const Value& object, std::string_view name);
const Value* FindGlobal(std::string_view name);

}  // namespace gannet::jinja
