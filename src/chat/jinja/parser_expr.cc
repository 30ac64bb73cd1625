#include <fmt/format.h>

#include <algorithm>

#include "chat/jinja/filters.h"
#include "chat/jinja/parser.h"

namespace gannet::jinja {

ExprPtr Parser::ParseTuple(bool with_condition, std::string_view end, bool in_parentheses) {
  const int line = Now().line;
  const auto at_end = [&] {
    return Now().kind == TokenKind::kOutputEnd || Now().kind == TokenKind::kBlockEnd || IsOp(")") ||
           (!end.empty() && IsName(end));
  };
  if (at_end()) {
    if (!in_parentheses) Throw(fmt::format("expected an expression, found {}", Describe(Now())));
    return New(ExprKind::kTuple, line);
  }
  ExprPtr first = ParseExpression(with_condition);
  if (!IsOp(",")) return first;
  ExprPtr tuple = New(ExprKind::kTuple, line);
  AddChild(*tuple, std::move(first));
  while (SkipOp(",")) {
    if (at_end()) break;
    AddChild(*tuple, ParseExpression(with_condition));
  }
  return tuple;
}

ExprPtr Parser::ParseExpression(bool with_condition) {
  const Nesting nesting(*this);
  const int line = Now().line;
  const size_t unknown = unknown_.size();
  ExprPtr then = ParseOr();
  if (!with_condition) return then;
  while (SkipName("if")) {
    ++conditional_;
    unknown_.resize(unknown, {{}, 0});
    ExprPtr node = New(ExprKind::kCondition, line);
    AddChild(*node, ParseOr());
    AddChild(*node, std::move(then));
    AddChild(*node, SkipName("else") ? ParseExpression() : nullptr);
    --conditional_;
    then = std::move(node);
  }
  return then;
}

ExprPtr Parser::ParseOr() {
  ExprPtr left = ParseAnd();
  while (IsName("or")) {
    const int line = Now().line;
    Next();
    ExprPtr right = ParseAnd();
    left = New(ExprKind::kOr, line, std::move(left), std::move(right));
  }
  return left;
}

ExprPtr Parser::ParseAnd() {
  ExprPtr left = ParseNot();
  while (IsName("and")) {
    const int line = Now().line;
    Next();
    ExprPtr right = ParseNot();
    left = New(ExprKind::kAnd, line, std::move(left), std::move(right));
  }
  return left;
}

ExprPtr Parser::ParseNot() {
  if (!IsName("not")) return ParseCompare();
  const Nesting nesting(*this);
  const int line = Now().line;
  Next();
  ExprPtr node = New(ExprKind::kUnary, line, ParseNot());
  node->op = 'n';
  return node;
}

ExprPtr Parser::ParseCompare() {
  static constexpr std::pair<std::string_view, Comparison> kComparisons[] = {
      {"==", Comparison::kEqual},     {"!=", Comparison::kNotEqual}, {"<", Comparison::kLess},
      {"<=", Comparison::kLessEqual}, {">", Comparison::kGreater},   {">=", Comparison::kGreaterEqual}};
  const int line = Now().line;
  ExprPtr first = ParseSum();
  ExprPtr node;
  while (true) {
    std::optional<Comparison> comparison;
    if (Now().kind == TokenKind::kOperator) {
      for (const auto& [op, meaning] : kComparisons) {
        if (Now().text == op) comparison = meaning;
      }
    } else if (IsName("in")) {
      comparison = Comparison::kIn;
    } else if (IsName("not") && Ahead().kind == TokenKind::kName && Ahead().text == "in") {
      Next();
      comparison = Comparison::kNotIn;
    }
    if (!comparison) break;
    Next();
    if (!node) node = New(ExprKind::kCompare, line, std::move(first));
    node->comparisons.push_back(*comparison);
    AddChild(*node, ParseSum());
  }
  return node ? std::move(node) : std::move(first);
}

ExprPtr Parser::ParseSum() {
  ExprPtr left = ParseConcat();
  while (IsOp("+") || IsOp("-")) {
    const char op = Now().text[0];
    const int line = Now().line;
    Next();
    ExprPtr right = ParseConcat();
    left = New(ExprKind::kBinary, line, std::move(left), std::move(right));
    left->op = op;
  }
  return left;
}

ExprPtr Parser::ParseConcat() {
  ExprPtr first = ParseProduct();
  if (!IsOp("~")) return first;
  const int line = Now().line;
  ExprPtr node = New(ExprKind::kConcat, line, std::move(first));
  while (SkipOp("~")) AddChild(*node, ParseProduct());
  return node;
}

ExprPtr Parser::ParseProduct() {
  ExprPtr left = ParsePower();
  while (IsOp("*") || IsOp("/") || IsOp("//") || IsOp("%")) {
    const char op = IsOp("//") ? 'f' : Now().text[0];
    const int line = Now().line;
    Next();
    ExprPtr right = ParsePower();
    left = New(ExprKind::kBinary, line, std::move(left), std::move(right));
    left->op = op;
  }
  return left;
}

ExprPtr Parser::ParsePower() {
  ExprPtr left = ParseUnary();
  while (IsOp("**")) {
    const int line = Now().line;
    Next();
    ExprPtr right = ParseUnary();
    left = New(ExprKind::kBinary, line, std::move(left), std::move(right));
    left->op = 'p';
  }
  return left;
}

ExprPtr Parser::ParseUnary(bool with_filter) {
  ExprPtr node;
  if (IsOp("-") || IsOp("+")) {
    const Nesting nesting(*this);
    const char op = Now().text[0];
    const int line = Now().line;
    Next();
    node = New(ExprKind::kUnary, line, ParseUnary(false));
    node->op = op;
  } else {
    node = ParsePrimary();
  }
  node = ParsePostfix(std::move(node));
  return with_filter ? ParseFilterExpr(std::move(node)) : std::move(node);
}

ExprPtr Parser::ParsePrimary() {
  const Nesting nesting(*this);
  const Token& token = Now();
  ExprPtr node = New(ExprKind::kConstant, token.line);
  switch (token.kind) {
    case TokenKind::kName:
      if (token.text == "true" || token.text == "True") {
        node->constant = true;
      } else if (token.text == "false" || token.text == "False") {
        node->constant = false;
      } else if (token.text != "none" && token.text != "None") {
        node->kind = ExprKind::kName;
        node->name = token.text;
        for (MacroNode* macro : macros_) {
          macro->reads_caller |= token.text == "caller";
          macro->reads_kwargs |= token.text == "kwargs";
          macro->reads_varargs |= token.text == "varargs";
        }
      }
      Next();
      return node;
    case TokenKind::kString: {
      std::string text;
      while (Now().kind == TokenKind::kString) {
        text += Now().text;
        Next();
      }
      node->constant = std::move(text);
      return node;
    }
    case TokenKind::kInteger:
    case TokenKind::kFloat:
      node->constant = token.number;
      Next();
      return node;
    default:
      break;
  }
  if (SkipOp("(")) {
    node = ParseTuple(true, {}, true);
    ExpectOp(")");
    return node;
  }
  if (SkipOp("[")) return ParseListOrDict(ExprKind::kList, "]");
  if (SkipOp("{")) return ParseListOrDict(ExprKind::kDict, "}");
  Throw(fmt::format("unexpected {}", Describe(token)));
}

ExprPtr Parser::ParseListOrDict(ExprKind kind, std::string_view close) {
  ExprPtr node = New(kind, Now().line);
  while (!IsOp(close)) {
    if (!node->children.empty()) ExpectOp(",");
    if (IsOp(close)) break;
    AddChild(*node, ParseExpression());
    if (kind == ExprKind::kDict) {
      ExpectOp(":");
      AddChild(*node, ParseExpression());
    }
  }
  ExpectOp(close);
  return node;
}

ExprPtr Parser::ParsePostfix(ExprPtr node) {
  while (true) {
    if (IsOp(".") || IsOp("[")) {
      node = ParseSubscript(std::move(node));
    } else if (IsOp("(")) {
      node = ParseCall(std::move(node));
    } else {
      return node;
    }
  }
}

ExprPtr Parser::ParseFilterExpr(ExprPtr node) {
  while (true) {
    if (IsOp("|")) {
      node = ParseFilters(std::move(node), false);
    } else if (IsName("is")) {
      node = ParseTest(std::move(node));
    } else if (IsOp("(")) {
      node = ParseCall(std::move(node));
    } else {
      return node;
    }
  }
}

ExprPtr Parser::ParseSubscript(ExprPtr node) {
  const int line = Now().line;
  if (SkipOp(".")) {
    if (Now().kind == TokenKind::kName) {
      ExprPtr attribute = New(ExprKind::kAttribute, line, std::move(node));
      attribute->name = ExpectName();
      return attribute;
    }
    if (Now().kind != TokenKind::kInteger) Throw(fmt::format("expected a name or number, found {}", Describe(Now())));
    ExprPtr index = New(ExprKind::kConstant, line);
    index->constant = Now().number;
    Next();
    return New(ExprKind::kSubscript, line, std::move(node), std::move(index));
  }
  ExpectOp("[");
  ExprPtr index = ParseSliceOrIndex();
  if (IsOp(",")) {
    ExprPtr tuple = New(ExprKind::kTuple, line, std::move(index));
    while (SkipOp(",")) AddChild(*tuple, ParseSliceOrIndex());
    index = std::move(tuple);
  }
  ExpectOp("]");
  return New(ExprKind::kSubscript, line, std::move(node), std::move(index));
}

ExprPtr Parser::ParseSliceOrIndex() {
  const int line = Now().line;
  ExprPtr start;
  if (!IsOp(":")) {
    start = ParseExpression();
    if (!IsOp(":")) return start;
  }
  ExpectOp(":");
  const auto part = [&]() -> ExprPtr { return IsOp(":") || IsOp("]") || IsOp(",") ? nullptr : ParseExpression(); };
  ExprPtr node = New(ExprKind::kSlice, line);
  AddChild(*node, std::move(start));
  AddChild(*node, part());
  AddChild(*node, SkipOp(":") ? part() : nullptr);
  return node;
}

void Parser::ParseCallArguments(CallArguments& call) {
  const int line = Now().line;
  const auto ensure = [&](bool good) {
    if (!good) Throw("the arguments of a call are out of order", line);
  };
  ExpectOp("(");
  bool first = true;
  while (!IsOp(")")) {
    if (!first) {
      ExpectOp(",");
      if (IsOp(")")) break;
    }
    first = false;
    if (SkipOp("*")) {
      ensure(!call.star && !call.double_star);
      call.star = ParseExpression();
    } else if (SkipOp("**")) {
      ensure(!call.double_star);
      call.double_star = ParseExpression();
    } else if (Now().kind == TokenKind::kName && Ahead().kind == TokenKind::kOperator && Ahead().text == "=") {
      ensure(!call.double_star);
      std::string name = ExpectName();
      Next();
      for (const auto& [other, value] : call.named) {
        if (other == name) Throw(fmt::format("the argument '{}' is given twice", name));
      }
      call.named.emplace_back(std::move(name), ParseExpression());
    } else {
      ensure(!call.star && !call.double_star && call.named.empty());
      call.positional.push_back(ParseExpression());
    }
  }
  ExpectOp(")");
}

ExprPtr Parser::ParseCall(ExprPtr node) {
  ExprPtr call = New(ExprKind::kCall, Now().line, std::move(node));
  ParseCallArguments(call->call);
  for (const ExprPtr& argument : call->call.positional) SetDepth(*call, *argument);
  for (const auto& [name, argument] : call->call.named) SetDepth(*call, *argument);
  if (call->call.star) SetDepth(*call, *call->call.star);
  if (call->call.double_star) SetDepth(*call, *call->call.double_star);
  return call;
}

void Parser::NoteUnknown(std::string_view what, const std::string& name, int line) {
  if (conditional_ == 0) unknown_.push_back({fmt::format("the {} '{}' is unknown or not supported", what, name), line});
}

ExprPtr Parser::ParseFilters(ExprPtr node, bool at_name) {
  while (at_name || SkipOp("|")) {
    at_name = false;
    const int line = Now().line;
    ExprPtr filter = New(ExprKind::kFilter, line);
    AddChild(*filter, std::move(node));
    filter->name = ExpectName();
    if (!FindFilter(filter->name)) NoteUnknown("filter", filter->name, line);
    if (IsOp("(")) {
      ExprPtr call = ParseCall(nullptr);
      filter->call = std::move(call->call);
      SetDepth(*filter, *call);
    }
    node = std::move(filter);
  }
  return node;
}

ExprPtr Parser::ParseTest(ExprPtr node) {
  const int line = Now().line;
  Next();
  const bool negated = SkipName("not");
  ExprPtr test = New(ExprKind::kTest, line, std::move(node));
  test->name = ExpectName();
  if (!FindTest(test->name)) NoteUnknown("test", test->name, line);
  const TokenKind kind = Now().kind;
  if (IsOp("(")) {
    ExprPtr call = ParseCall(nullptr);
    test->call = std::move(call->call);
    SetDepth(*test, *call);
  } else if ((kind == TokenKind::kName && !IsName("else") && !IsName("or") && !IsName("and")) ||
             kind == TokenKind::kString || kind == TokenKind::kInteger || kind == TokenKind::kFloat || IsOp("[") ||
             IsOp("{")) {
    if (IsName("is")) Throw("tests cannot be chained with 'is'");
    ExprPtr argument = ParsePostfix(ParsePrimary());
    SetDepth(*test, *argument);
    test->call.positional.push_back(std::move(argument));
  }
  if (!negated) return test;
  ExprPtr inverse = New(ExprKind::kUnary, line, std::move(test));
  inverse->op = 'n';
  return inverse;
}

}  // namespace gannet::jinja
