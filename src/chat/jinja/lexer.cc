#include "chat/jinja/lexer.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstring>

#include "chat/jinja/ast.h"
#include "chat/jinja/text.h"

namespace gannet::jinja {
namespace {

bool IsAsciiDigit(char c) { return c >= '0' && c <= '9'; }
bool IsNameByte(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || IsAsciiDigit(c) ||
         static_cast<uint8_t>(c) >= 0x80;
}
int HexDigit(char c) {
  if (IsAsciiDigit(c)) return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// Line ends become "\n"; one at the very end goes (keep_trailing_newline=False).
std::string NormalizeLines(const std::string& source) {
  std::string out;
  out.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      out += '\n';
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    } else {
      out += source[i];
    }
  }
  if (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

class Lexer {
 public:
  explicit Lexer(const std::string& source) : source_(NormalizeLines(source)), text_(source_) {}

  std::vector<Token> Run() {
    while (at_ < text_.size()) Root();
    Add(TokenKind::kEnd);
    return std::move(tokens_);
  }

 private:
  [[noreturn]] void Throw(std::string message) const { throw SyntaxError{std::move(message), line_}; }
  bool Sees(std::string_view what, size_t at) const { return text_.substr(at, what.size()) == what; }
  void Add(TokenKind kind, std::string text = {}, Value number = {}) {
    tokens_.push_back({kind, line_, std::move(text), std::move(number)});
  }
  void MoveTo(size_t end) {
    line_ += static_cast<int>(
        std::count(text_.begin() + static_cast<ptrdiff_t>(at_), text_.begin() + static_cast<ptrdiff_t>(end), '\n'));
    line_starting_ = end > at_ ? text_[end - 1] == '\n' : false;
    at_ = end;
  }
  size_t SkipSpace(size_t at) const {
    while (at < text_.size()) {
      size_t next = at;
      if (!IsSpace(NextCodePoint(text_, next))) break;
      at = next;
    }
    return at;
  }

  // The end of a tag that closes with `close` at `at` ("-" strips what follows, "+" keeps the line end, else one line
  // end goes), or npos when there is no such end.
  size_t TagEnd(std::string_view close, size_t at, bool trims_line) const {
    if (Sees("-", at) && Sees(close, at + 1)) return SkipSpace(at + 1 + close.size());
    if (trims_line && Sees("+", at) && Sees(close, at + 1)) return at + 1 + close.size();
    if (!Sees(close, at)) return std::string_view::npos;
    at += close.size();
    return trims_line && Sees("\n", at) ? at + 1 : at;
  }

  // Text before a tag: `sign` is the tag's "-", "+" or 0.
  void AddText(std::string_view text, char sign, bool may_lstrip) {
    if (sign == '-') {
      text = Strip(text, std::nullopt, Side::kRight);
    } else if (sign != '+' && may_lstrip) {
      const size_t newline = text.rfind('\n');
      const size_t start = newline == std::string_view::npos ? 0 : newline + 1;
      if ((start > 0 || line_starting_) && Strip(text.substr(start), std::nullopt, Side::kBoth).empty()) {
        text = text.substr(0, start);
      }
    }
    if (!text.empty()) Add(TokenKind::kText, std::string(text));
  }
  char SignAt(size_t at) const { return Sees("-", at) ? '-' : Sees("+", at) ? '+' : '\0'; }

  void Root() {
    size_t tag = at_;
    while (tag < text_.size() && !(text_[tag] == '{' && (Sees("{{", tag) || Sees("{%", tag) || Sees("{#", tag)))) ++tag;
    const std::string_view before = text_.substr(at_, tag - at_);
    if (tag == text_.size()) {
      Add(TokenKind::kText, std::string(before));
      at_ = tag;
      return;
    }
    const char kind = text_[tag + 1];
    const char sign = SignAt(tag + 2);
    AddText(before, sign, kind != '{');
    size_t inside = tag + 2 + (sign ? 1 : 0);
    if (kind == '#') {
      MoveTo(inside);
      Comment();
    } else if (const size_t raw = kind == '%' ? RawBegin(inside) : std::string_view::npos;
               raw != std::string_view::npos) {
      MoveTo(raw);
      Raw();
    } else {
      MoveTo(inside);
      Add(kind == '{' ? TokenKind::kOutputBegin : TokenKind::kBlockBegin);
      Code(kind == '{');
    }
  }

  void Comment() {
    if (at_ == text_.size()) return;  // jinja2 lets this pass
    for (size_t at = at_; at < text_.size(); ++at) {
      if (const size_t end = TagEnd("#}", at, true); end != std::string_view::npos) return MoveTo(end);
    }
    Throw("a comment has no end, \"#}\"");
  }

  // The end of "{% raw %}" whose inside starts at `at`; after "%}" the line end stays.
  size_t RawBegin(size_t at) const {
    at = SkipSpace(at);
    if (!Sees("raw", at)) return std::string_view::npos;
    at = SkipSpace(at + 3);
    if (Sees("-%}", at)) return SkipSpace(at + 3);
    return Sees("%}", at) ? at + 2 : std::string_view::npos;
  }

  void Raw() {
    if (at_ == text_.size()) return;
    for (size_t at = at_; at < text_.size(); ++at) {
      if (!Sees("{%", at)) continue;
      const char sign = SignAt(at + 2);
      size_t inside = SkipSpace(at + 2 + (sign ? 1 : 0));
      if (!Sees("endraw", inside)) continue;
      inside = SkipSpace(inside + 6);
      const size_t end = TagEnd("%}", inside, true);
      if (end == std::string_view::npos) continue;
      AddText(text_.substr(at_, at - at_), sign, true);
      return MoveTo(end);
    }
    Throw("\"raw\" has no \"endraw\"");
  }

  void Code(bool output) {
    std::string open;
    while (at_ < text_.size()) {
      if (open.empty()) {
        const size_t end = TagEnd(output ? "}}" : "%}", at_, !output);
        if (end != std::string_view::npos) {
          Add(output ? TokenKind::kOutputEnd : TokenKind::kBlockEnd);
          return MoveTo(end);
        }
      }
      const char c = text_[at_];
      if (const size_t after = SkipSpace(at_); after != at_) {
        MoveTo(after);
      } else if (IsAsciiDigit(c)) {
        Number();
      } else if (IsNameByte(c)) {
        size_t end = at_;
        while (end < text_.size() && IsNameByte(text_[end])) ++end;
        Add(TokenKind::kName, std::string(text_.substr(at_, end - at_)));
        MoveTo(end);
      } else if (c == '"' || c == '\'') {
        String(c);
      } else {
        Operator(open);
      }
    }
  }

  void Operator(std::string& open) {
    static constexpr std::string_view kOperators[] = {"//", "**", "==", "!=", ">=", "<=", "+", "-", "/",
                                                      "*",  "%",  "~",  "[",  "]",  "(",  ")", "{", "}",
                                                      ">",  "<",  "=",  ".",  ":",  "|",  ",", ";"};
    for (const std::string_view op : kOperators) {
      if (!Sees(op, at_)) continue;
      if (op == "{") open += '}';
      if (op == "(") open += ')';
      if (op == "[") open += ']';
      if (op == "}" || op == ")" || op == "]") {
        if (open.empty()) Throw(fmt::format("unexpected '{}'", op));
        if (open.back() != op[0]) Throw(fmt::format("unexpected '{}', expected '{}'", op, open.back()));
        open.pop_back();
      }
      Add(TokenKind::kOperator, std::string(op));
      return MoveTo(at_ + op.size());
    }
    size_t next = at_;
    NextCodePoint(text_, next);
    Throw(fmt::format("unexpected char '{}'", text_.substr(at_, next - at_)));
  }

  // (\d+_)*\d+ from `at`; the end of it.
  size_t Digits(size_t at, std::string& digits) const {
    while (at < text_.size()) {
      if (IsAsciiDigit(text_[at])) {
        digits += text_[at++];
      } else if (text_[at] == '_' && at + 1 < text_.size() && IsAsciiDigit(text_[at + 1])) {
        ++at;
      } else {
        break;
      }
    }
    return at;
  }

  void Number() {
    std::string digits;
    size_t end = Digits(at_, digits);
    bool is_float = false;
    const bool after_dot = at_ > 0 && text_[at_ - 1] == '.';
    if (!after_dot) {
      std::string more = digits;
      size_t at = end;
      if (Sees(".", at) && at + 1 < text_.size() && IsAsciiDigit(text_[at + 1])) {
        more += '.';
        at = end = Digits(at + 1, more);
        is_float = true;
        digits = more;
      }
      if (at < text_.size() && (text_[at] == 'e' || text_[at] == 'E')) {
        more += 'e';
        ++at;
        if (at < text_.size() && (text_[at] == '+' || text_[at] == '-')) more += text_[at++];
        if (at < text_.size() && IsAsciiDigit(text_[at])) {
          end = Digits(at, more);
          is_float = true;
          digits = more;
        }
      }
    }
    if (is_float) {
      Add(TokenKind::kFloat, {}, Value(std::strtod(digits.c_str(), nullptr)));
    } else if (digits[0] == '0') {
      return ZeroNumber(digits);
    } else {
      Add(TokenKind::kInteger, digits, ParseInteger(digits, 10));
    }
    MoveTo(end);
  }

  // 0x, 0o, 0b, or zeros; "07" is 0 and then 7, which no grammar takes.
  void ZeroNumber(const std::string& digits) {
    const char letter = at_ + 1 < text_.size() ? static_cast<char>(text_[at_ + 1] | 0x20) : ' ';
    const int base = letter == 'x' ? 16 : letter == 'o' ? 8 : letter == 'b' ? 2 : 10;
    if (base == 10) {
      if (digits.find_first_not_of('0') != std::string::npos) Throw("an integer must not begin with 0");
      std::string unused;
      Add(TokenKind::kInteger, "0", Value(0));
      return MoveTo(Digits(at_, unused));
    }
    std::string based;
    size_t end = at_ + 2;
    while (end < text_.size()) {
      const bool underscore = text_[end] == '_' && end + 1 < text_.size();
      const int digit = HexDigit(text_[underscore ? end + 1 : end]);
      if (digit < 0 || digit >= base) break;
      end += underscore ? 1 : 0;
      based += text_[end++];
    }
    if (based.empty()) Throw("a number has no digits");
    Add(TokenKind::kInteger, based, ParseInteger(based, base));
    MoveTo(end);
  }

  Value ParseInteger(const std::string& digits, int base) const {
    Int value = 0;
    for (const char c : digits) {
      if (__builtin_mul_overflow(value, static_cast<Int>(base), &value) ||
          __builtin_add_overflow(value, static_cast<Int>(HexDigit(c)), &value)) {
        Throw("an integer is too large");
      }
    }
    return Value(value);
  }

  void String(char quote) {
    size_t end = at_ + 1;
    while (end < text_.size() && text_[end] != quote) end += text_[end] == '\\' ? 2 : 1;
    if (end >= text_.size()) Throw(fmt::format("a string that begins with {} has no end", quote));
    const std::string_view inside = text_.substr(at_ + 1, end - at_ - 1);
    std::string value;
    for (size_t i = 0; i < inside.size();) {
      if (inside[i] != '\\') {
        value += inside[i++];
      } else {
        Escape(inside, i, value);
      }
    }
    Add(TokenKind::kString, std::move(value));
    MoveTo(end + 1);
  }

  void Escape(std::string_view text, size_t& i, std::string& out) {
    static constexpr std::string_view kLetters = "\\'\"abfnrtv";
    static constexpr std::string_view kMeanings = "\\'\"\a\b\f\n\r\t\v";
    const char c = text[i + 1];  // a string never ends in a lone backslash
    i += 2;
    if (const size_t found = kLetters.find(c); found != std::string_view::npos) {
      out += kMeanings[found];
    } else if (c == '\n') {
      return;
    } else if (c == 'x' || c == 'u' || c == 'U') {
      const size_t count = c == 'x' ? 2 : c == 'u' ? 4 : 8;
      uint32_t code_point = 0;
      for (size_t k = 0; k < count; ++k) {
        const int digit = i < text.size() ? HexDigit(text[i++]) : -1;
        if (digit < 0) Throw(fmt::format("a \\{} in a string needs {} hexadecimal digits", c, count));
        code_point = code_point * 16 + static_cast<uint32_t>(digit);
      }
      if (code_point > 0x10ffff || (code_point >= 0xd800 && code_point < 0xe000)) {
        Throw(fmt::format("\\{}{:04x} in a string is no character", c, code_point));
      }
      AppendCodePoint(code_point, out);
    } else if (c >= '0' && c <= '7') {
      uint32_t code_point = static_cast<uint32_t>(c - '0');
      for (int k = 0; k < 2 && i < text.size() && text[i] >= '0' && text[i] <= '7'; ++k) {
        code_point = code_point * 8 + static_cast<uint32_t>(text[i++] - '0');
      }
      AppendCodePoint(code_point, out);
    } else if (c == 'N') {
      Throw("\\N{...} in a string is not supported");
    } else {
      out += '\\';
      out += c;
    }
  }

  const std::string source_;
  const std::string_view text_;
  size_t at_ = 0;
  int line_ = 1;
  bool line_starting_ = true;
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> Tokenize(const std::string& source) { return Lexer(source).Run(); }

}  // namespace gannet::jinja
