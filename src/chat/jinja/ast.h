// A parsed template.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "chat/jinja/value.h"

namespace gannet::jinja {

struct Expr;
using ExprPtr = std::unique_ptr<Expr>;

enum class ExprKind : uint8_t {
  kConstant,      // constant
  kName,          // name
  kTuple,         // children
  kList,          // children
  kDict,          // children: key, value, key, value
  kAttribute,     // children[0] . name
  kSubscript,     // children[0] [ children[1] ]
  kSlice,         // children: start, stop, step (null where absent)
  kCall,          // children[0] ( call )
  kFilter,        // children[0] | name ( call ); children[0] is null at the head of a filter block
  kTest,          // children[0] is name ( call )
  kUnary,         // op children[0]: '+', '-', 'n' for not
  kBinary,        // children[0] op children[1]: + - * / % , 'f' for //, 'p' for **
  kConcat,        // children, joined as text
  kAnd,           // children[0] and children[1]
  kOr,            // children[0] or children[1]
  kCompare,       // children[0] comparisons[0] children[1] comparisons[1] ...
  kCondition,     // children: test, then, else (null when absent)
  kNamespaceRef,  // name . attribute, as the target of a set
};

enum class Comparison : uint8_t { kEqual, kNotEqual, kLess, kLessEqual, kGreater, kGreaterEqual, kIn, kNotIn };

struct CallArguments {
  std::vector<ExprPtr> positional;
  std::vector<std::pair<std::string, ExprPtr>> named;
  ExprPtr star;         // *args
  ExprPtr double_star;  // **kwargs
};

struct Expr {
  ExprKind kind;
  char op = 0;
  int line;
  int depth = 1;  // of the tree under it
  std::string name;
  std::string attribute;
  Value constant;
  std::vector<ExprPtr> children;
  std::vector<Comparison> comparisons;
  CallArguments call;
};

struct Statement;
using Block = std::vector<std::unique_ptr<Statement>>;

enum class StatementKind : uint8_t {
  kText,         // text
  kOutput,       // expr
  kFor,          // target in expr [if test]: body, else_body
  kIf,           // branches, else_body
  kSet,          // target = expr
  kSetBlock,     // target = body [| expr]
  kWith,         // assignments: body
  kMacro,        // macro
  kCallBlock,    // expr is the call, macro the caller
  kFilterBlock,  // body | expr
  kScope,        // body in a scope of its own: generation
  kBreak,
  kContinue,
};

struct MacroNode {
  std::string name;
  int line;
  std::vector<std::string> parameters;
  std::vector<ExprPtr> defaults;  // of the last parameters
  Block body;
  bool reads_caller = false;
  bool reads_kwargs = false;
  bool reads_varargs = false;
};

struct Statement {
  StatementKind kind;
  int line;
  std::string text;
  ExprPtr target;
  ExprPtr expr;
  ExprPtr test;
  std::vector<std::pair<ExprPtr, Block>> branches;
  std::vector<std::pair<ExprPtr, ExprPtr>> assignments;
  Block body;
  Block else_body;
  std::unique_ptr<MacroNode> macro;
};

struct ParsedTemplate {
  Block body;
  bool loops_over_content = false;  // some `for` walks through a message's content, as a list of parts
};

struct SyntaxError {
  std::string message;
  int line;
};
// Throws SyntaxError. `source` is valid UTF-8.
ParsedTemplate ParseTemplate(const std::string& source);

}  // namespace gannet::jinja
