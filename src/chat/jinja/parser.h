// The grammar of jinja2 over the tokens of lexer.h. Precedence and quirks are jinja2's (its parser.py is the
// reference).
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "chat/jinja/ast.h"
#include "chat/jinja/lexer.h"

namespace gannet::jinja {

inline constexpr int kMaxNesting = 200;    // of statements, and of parentheses and the like
inline constexpr int kMaxExprDepth = 300;  // of an expression tree

class Parser {
 public:
  explicit Parser(const std::string& source) : tokens_(Tokenize(source)) {}
  ParsedTemplate Run();

 private:
  // parser.cc: statements
  Block ParseBlock(std::initializer_list<std::string_view> ends);
  Block ParseBody(std::initializer_list<std::string_view> ends);
  Block ParseBodyAndEnd(std::string_view end);
  std::unique_ptr<Statement> ParseStatement();
  void ParseFor(Statement& statement);
  void ParseIf(Statement& statement);
  void ParseSet(Statement& statement);
  void ParseWith(Statement& statement);
  void ParseMacro(Statement& statement);
  void ParseCallBlock(Statement& statement);
  void ParseSignature(MacroNode& macro);
  void ParseMacroBody(MacroNode& macro, std::string_view end);
  ExprPtr ParseTarget(bool with_namespace, std::string_view end);
  ExprPtr ParseTargetItem(bool with_namespace);

  // parser_expr.cc: expressions
  ExprPtr ParseTuple(bool with_condition, std::string_view end = {}, bool in_parentheses = false);
  ExprPtr ParseExpression(bool with_condition = true);
  ExprPtr ParseOr();
  ExprPtr ParseAnd();
  ExprPtr ParseNot();
  ExprPtr ParseCompare();
  ExprPtr ParseSum();
  ExprPtr ParseConcat();
  ExprPtr ParseProduct();
  ExprPtr ParsePower();
  ExprPtr ParseUnary(bool with_filter = true);
  ExprPtr ParsePrimary();
  ExprPtr ParsePostfix(ExprPtr node);
  ExprPtr ParseFilters(ExprPtr node, bool at_name);
  ExprPtr ParseFilterExpr(ExprPtr node);
  ExprPtr ParseTest(ExprPtr node);
  ExprPtr ParseSubscript(ExprPtr node);
  ExprPtr ParseSliceOrIndex();
  ExprPtr ParseCall(ExprPtr node);
  void ParseCallArguments(CallArguments& call);
  ExprPtr ParseListOrDict(ExprKind kind, std::string_view close);

  ExprPtr New(ExprKind kind, int line, ExprPtr a = nullptr, ExprPtr b = nullptr);
  void AddChild(Expr& parent, ExprPtr child);
  void SetDepth(Expr& parent, const Expr& child);

  const Token& Now() const { return tokens_[at_]; }
  const Token& Ahead() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  void Next() {
    if (at_ + 1 < tokens_.size()) ++at_;
  }
  bool IsName(std::string_view name) const { return Now().kind == TokenKind::kName && Now().text == name; }
  bool IsOp(std::string_view op) const { return Now().kind == TokenKind::kOperator && Now().text == op; }
  bool SkipName(std::string_view name);
  bool SkipOp(std::string_view op);
  void ExpectOp(std::string_view op);
  void Expect(TokenKind kind, std::string_view what);
  std::string ExpectName();
  std::string Describe(const Token& token) const;
  void NoteUnknown(std::string_view what, const std::string& name, int line);
  [[noreturn]] void Throw(std::string message, int line = 0) const;

  class Nesting {
   public:
    explicit Nesting(Parser& parser) : parser_(parser) {
      if (++parser_.nesting_ > kMaxNesting) {
        parser_.nesting_--;
        parser_.Throw("the template is nested too deeply");
      }
    }
    ~Nesting() { --parser_.nesting_; }

   private:
    Parser& parser_;
  };

  std::vector<Token> tokens_;
  size_t at_ = 0;
  int nesting_ = 0;
  int loops_ = 0;                     // open `for` bodies of the current macro or template
  int conditional_ = 0;               // open `if`s: there an unknown filter or test fails only when it is reached
  std::vector<SyntaxError> unknown_;  // filters and tests, outside of conditions
  bool loops_over_content_ = false;
  std::vector<MacroNode*> macros_;  // being parsed
};

}  // namespace gannet::jinja
