#include "chat/jinja/parser.h"

#include <fmt/format.h>

#include <algorithm>

namespace gannet::jinja {

void Parser::Throw(std::string message, int line) const {
  throw SyntaxError{std::move(message), line > 0 ? line : Now().line};
}

bool Parser::SkipName(std::string_view name) {
  if (!IsName(name)) return false;
  Next();
  return true;
}

bool Parser::SkipOp(std::string_view op) {
  if (!IsOp(op)) return false;
  Next();
  return true;
}

std::string Parser::Describe(const Token& token) const {
  switch (token.kind) {
    case TokenKind::kText:
      return "template text";
    case TokenKind::kBlockBegin:
      return "'{%'";
    case TokenKind::kBlockEnd:
      return "'%}'";
    case TokenKind::kOutputBegin:
      return "'{{'";
    case TokenKind::kOutputEnd:
      return "'}}'";
    case TokenKind::kName:
    case TokenKind::kOperator:
      return fmt::format("'{}'", token.text);
    case TokenKind::kString:
      return "a string";
    case TokenKind::kInteger:
    case TokenKind::kFloat:
      return "a number";
    case TokenKind::kEnd:
      return "the end of the template";
  }
  return "a token";
}

void Parser::ExpectOp(std::string_view op) {
  if (!SkipOp(op)) Throw(fmt::format("expected '{}', found {}", op, Describe(Now())));
}

void Parser::Expect(TokenKind kind, std::string_view what) {
  if (Now().kind != kind) Throw(fmt::format("expected {}, found {}", what, Describe(Now())));
  Next();
}

std::string Parser::ExpectName() {
  if (Now().kind != TokenKind::kName) Throw(fmt::format("expected a name, found {}", Describe(Now())));
  std::string name = Now().text;
  Next();
  return name;
}

void Parser::SetDepth(Expr& parent, const Expr& child) {
  parent.depth = std::max(parent.depth, child.depth + 1);
  if (parent.depth > kMaxExprDepth) Throw("an expression is nested too deeply", parent.line);
}

void Parser::AddChild(Expr& parent, ExprPtr child) {
  if (child) SetDepth(parent, *child);
  parent.children.push_back(std::move(child));
}

ExprPtr Parser::New(ExprKind kind, int line, ExprPtr a, ExprPtr b) {
  auto expr = std::make_unique<Expr>();
  expr->kind = kind;
  expr->line = line;
  if (a) AddChild(*expr, std::move(a));
  if (b) AddChild(*expr, std::move(b));
  return expr;
}

ParsedTemplate Parser::Run() {
  ParsedTemplate parsed;
  parsed.body = ParseBlock({});
  if (!unknown_.empty()) throw unknown_.front();
  parsed.loops_over_content = loops_over_content_;
  return parsed;
}

// Up to a tag of `ends`, which stays the current token; to the end of the template without any.
Block Parser::ParseBlock(std::initializer_list<std::string_view> ends) {
  const Nesting nesting(*this);
  Block block;
  while (Now().kind != TokenKind::kEnd) {
    const int line = Now().line;
    if (Now().kind == TokenKind::kText) {
      auto text = std::make_unique<Statement>();
      text->kind = StatementKind::kText;
      text->line = line;
      text->text = std::move(tokens_[at_].text);
      block.push_back(std::move(text));
      Next();
    } else if (Now().kind == TokenKind::kOutputBegin) {
      Next();
      auto output = std::make_unique<Statement>();
      output->kind = StatementKind::kOutput;
      output->line = line;
      output->expr = ParseTuple(true);
      Expect(TokenKind::kOutputEnd, "'}}'");
      block.push_back(std::move(output));
    } else {
      Expect(TokenKind::kBlockBegin, "'{%'");
      if (Now().kind == TokenKind::kName && std::find(ends.begin(), ends.end(), Now().text) != ends.end()) {
        return block;
      }
      block.push_back(ParseStatement());
      Expect(TokenKind::kBlockEnd, "'%}'");
    }
  }
  if (ends.size() != 0) Throw(fmt::format("the template ends where '{}' is missing", *(ends.end() - 1)));
  return block;
}

Block Parser::ParseBody(std::initializer_list<std::string_view> ends) {
  SkipOp(":");
  Expect(TokenKind::kBlockEnd, "'%}'");
  return ParseBlock(ends);
}

Block Parser::ParseBodyAndEnd(std::string_view end) {
  Block body = ParseBody({end});
  Next();
  return body;
}

std::unique_ptr<Statement> Parser::ParseStatement() {
  const int line = Now().line;
  if (Now().kind != TokenKind::kName) Throw(fmt::format("expected a tag name, found {}", Describe(Now())));
  const std::string tag = ExpectName();
  auto statement = std::make_unique<Statement>();
  statement->line = line;
  if (tag == "for") {
    ParseFor(*statement);
  } else if (tag == "if") {
    ParseIf(*statement);
  } else if (tag == "set") {
    ParseSet(*statement);
  } else if (tag == "with") {
    ParseWith(*statement);
  } else if (tag == "macro") {
    ParseMacro(*statement);
  } else if (tag == "call") {
    ParseCallBlock(*statement);
  } else if (tag == "filter") {
    statement->kind = StatementKind::kFilterBlock;
    statement->expr = ParseFilters(nullptr, true);
    statement->body = ParseBodyAndEnd("endfilter");
  } else if (tag == "generation") {
    const int loops = std::exchange(loops_, 0);
    statement->kind = StatementKind::kScope;
    statement->body = ParseBodyAndEnd("endgeneration");
    loops_ = loops;
  } else if (tag == "print") {
    statement->kind = StatementKind::kOutput;
    statement->expr = ParseExpression();
  } else if (tag == "break" || tag == "continue") {
    if (loops_ == 0) Throw(fmt::format("'{}' outside of a loop", tag), line);
    statement->kind = tag == "break" ? StatementKind::kBreak : StatementKind::kContinue;
  } else {
    Throw(fmt::format("the tag '{}' is unknown or not supported here", tag), line);
  }
  return statement;
}

void Parser::ParseFor(Statement& statement) {
  statement.kind = StatementKind::kFor;
  statement.target = ParseTarget(false, "in");
  if (!SkipName("in")) Throw(fmt::format("expected 'in', found {}", Describe(Now())));
  statement.expr = ParseTuple(false, "recursive");
  const Expr& list = *statement.expr;
  const bool by_key = list.kind == ExprKind::kSubscript && list.children[1]->kind == ExprKind::kConstant &&
                      list.children[1]->constant.is_string() && list.children[1]->constant.as_string() == "content";
  const bool by_name = (list.kind == ExprKind::kName || list.kind == ExprKind::kAttribute) && list.name == "content";
  loops_over_content_ |= by_key || by_name;
  if (SkipName("if")) statement.test = ParseExpression();
  if (IsName("recursive")) Throw("a recursive loop is not supported");
  ++loops_;
  statement.body = ParseBody({"else", "endfor"});
  --loops_;
  if (SkipName("else")) {
    statement.else_body = ParseBodyAndEnd("endfor");
  } else {
    Next();
  }
}

void Parser::ParseIf(Statement& statement) {
  statement.kind = StatementKind::kIf;
  ++conditional_;
  do {
    ExprPtr test = ParseTuple(false);
    Block body = ParseBody({"elif", "else", "endif"});
    statement.branches.emplace_back(std::move(test), std::move(body));
  } while (SkipName("elif"));
  if (SkipName("else")) {
    statement.else_body = ParseBodyAndEnd("endif");
  } else {
    Next();
  }
  --conditional_;
}

void Parser::ParseSet(Statement& statement) {
  statement.target = ParseTarget(true, {});
  if (SkipOp("=")) {
    statement.kind = StatementKind::kSet;
    statement.expr = ParseTuple(true);
    return;
  }
  statement.kind = StatementKind::kSetBlock;
  if (IsOp("|")) statement.expr = ParseFilters(nullptr, false);
  statement.body = ParseBodyAndEnd("endset");
}

void Parser::ParseWith(Statement& statement) {
  statement.kind = StatementKind::kWith;
  while (Now().kind != TokenKind::kBlockEnd) {
    if (!statement.assignments.empty()) ExpectOp(",");
    ExprPtr target = ParseTarget(false, {});
    ExpectOp("=");
    statement.assignments.emplace_back(std::move(target), ParseExpression());
  }
  statement.body = ParseBodyAndEnd("endwith");
}

void Parser::ParseSignature(MacroNode& macro) {
  ExpectOp("(");
  while (!IsOp(")")) {
    if (!macro.parameters.empty()) ExpectOp(",");
    macro.parameters.push_back(ExpectName());
    if (SkipOp("=")) {
      macro.defaults.push_back(ParseExpression());
    } else if (macro.parameters.back() == "caller") {
      Throw("the parameter 'caller' needs a default");
    } else if (!macro.defaults.empty()) {
      Throw("a parameter without a default follows one with a default");
    }
  }
  ExpectOp(")");
}

void Parser::ParseMacroBody(MacroNode& macro, std::string_view end) {
  const int loops = std::exchange(loops_, 0);
  const int conditional = std::exchange(conditional_, 0);
  macros_.push_back(&macro);
  macro.body = ParseBodyAndEnd(end);
  macros_.pop_back();
  loops_ = loops;
  conditional_ = conditional;
}

void Parser::ParseMacro(Statement& statement) {
  statement.kind = StatementKind::kMacro;
  statement.macro = std::make_unique<MacroNode>();
  statement.macro->line = statement.line;
  statement.macro->name = ExpectName();
  ParseSignature(*statement.macro);
  ParseMacroBody(*statement.macro, "endmacro");
}

void Parser::ParseCallBlock(Statement& statement) {
  statement.kind = StatementKind::kCallBlock;
  statement.macro = std::make_unique<MacroNode>();
  statement.macro->line = statement.line;
  statement.macro->name = "caller";
  if (IsOp("(")) ParseSignature(*statement.macro);
  statement.expr = ParseExpression();
  if (statement.expr->kind != ExprKind::kCall) Throw("expected a call after 'call'", statement.line);
  ParseMacroBody(*statement.macro, "endcall");
}

ExprPtr Parser::ParseTargetItem(bool with_namespace) {
  const Nesting nesting(*this);
  const int line = Now().line;
  if (SkipOp("(")) {
    ExprPtr inner = ParseTarget(with_namespace, ")");
    ExpectOp(")");
    return inner;
  }
  ExprPtr target = New(ExprKind::kName, line);
  if (Now().kind != TokenKind::kName) Throw(fmt::format("can't assign to {}", Describe(Now())));
  target->name = ExpectName();
  for (const char* word : {"true", "false", "none", "True", "False", "None"}) {
    if (target->name == word) Throw(fmt::format("can't assign to '{}'", word));
  }
  if (with_namespace && SkipOp(".")) {
    target->kind = ExprKind::kNamespaceRef;
    target->attribute = ExpectName();
  }
  return target;
}

// One name or several with commas; `end` is the name or operator that follows.
ExprPtr Parser::ParseTarget(bool with_namespace, std::string_view end) {
  const int line = Now().line;
  ExprPtr first = ParseTargetItem(with_namespace);
  if (!IsOp(",")) return first;
  ExprPtr tuple = New(ExprKind::kTuple, line);
  AddChild(*tuple, std::move(first));
  while (SkipOp(",")) {
    if (IsName(end) || IsOp(end) || IsOp("=") || Now().kind == TokenKind::kBlockEnd) break;
    AddChild(*tuple, ParseTargetItem(with_namespace));
  }
  return tuple;
}

ParsedTemplate ParseTemplate(const std::string& source) { return Parser(source).Run(); }

}  // namespace gannet::jinja
