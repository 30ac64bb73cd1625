#include "tokenizer/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <fmt/format.h>
#include <pcre2.h>

#include <algorithm>
#include <array>

#include "base/result.h"

namespace gannet {
namespace {

[[noreturn]] void Refuse(std::string_view pattern, std::string_view what) {
  throw LoadError("tokenizer", fmt::format("the regular expression \"{}\" {}", pattern, what));
}

bool IsCategory(std::string_view name) {
  static constexpr std::array kNames = {"C",  "Cc", "Cf", "Cn", "Co", "Cs", "L",  "Ll", "Lm", "Lo", "Lt", "Lu", "M",
                                        "Mc", "Me", "Mn", "N",  "Nd", "Nl", "No", "P",  "Pc", "Pd", "Pe", "Pf", "Pi",
                                        "Po", "Ps", "S",  "Sc", "Sk", "Sm", "So", "Z",  "Zl", "Zp", "Zs", "Any"};
  return std::find(kNames.begin(), kNames.end(), name) != kNames.end();
}

constexpr std::string_view kWordSet = R"(\p{Alphabetic}\p{M}\p{Nd}\p{Pc})";

}  // namespace

// What differs: \s has U+0085, \w is UTS #18's, \h is a hexadecimal digit, \p{Script} does not mean script extensions,
// sets nest, {n}+ is not possessive.
std::string TranslateRegex(std::string_view pattern) {
  std::string out;
  bool in_set = false;
  for (size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    if (c != '\\') {
      if (in_set) {
        if (c == '[') Refuse(pattern, "nests character sets, which is not implemented");
        if (c == '&' && pattern.substr(i, 2) == "&&")
          Refuse(pattern, "intersects character sets, which is not implemented");
        if (c == ']') in_set = false;
      } else if (c == '[') {
        in_set = true;
        out += c;
        if (pattern.substr(i + 1, 1) == "^") out += pattern[++i];
        if (pattern.substr(i + 1, 1) == "]") Refuse(pattern, "has an empty character set");
        continue;
      } else if (c == '+' && i > 0 && pattern[i - 1] == '}') {
        const size_t open = pattern.rfind('{', i);
        if (open != std::string_view::npos &&
            pattern.substr(open + 1, i - open - 2).find_first_not_of("0123456789,") == std::string_view::npos) {
          Refuse(pattern, "has {n}+, which is not implemented");
        }
      } else if (c == '(' && pattern.substr(i + 1, 1) == "*") {
        Refuse(pattern, "has (*, which is not implemented");
      }
      out += c;
      continue;
    }
    if (++i >= pattern.size()) Refuse(pattern, "ends in a backslash");
    const char escaped = pattern[i];
    switch (escaped) {
      case 's':
        out += R"(\p{White_Space})";
        break;
      case 'S':
        out += R"(\P{White_Space})";
        break;
      case 'w':
        out += in_set ? std::string(kWordSet) : fmt::format("[{}]", kWordSet);
        break;
      case 'W':
        if (in_set) Refuse(pattern, "has \\W in a character set, which is not implemented");
        out += fmt::format("[^{}]", kWordSet);
        break;
      case 'b':
        if (in_set) {
          out += "\\b";
        } else {
          out += fmt::format("(?:(?<=[{0}])(?![{0}])|(?<![{0}])(?=[{0}]))", kWordSet);
        }
        break;
      case 'h':
        out += in_set ? "0-9a-fA-F" : "[0-9a-fA-F]";
        break;
      case 'p':
      case 'P': {
        const size_t close = pattern.find('}', i);
        if (pattern.substr(i + 1, 1) != "{" || close == std::string_view::npos)
          Refuse(pattern, "has \\p without {name}");
        std::string_view name = pattern.substr(i + 2, close - i - 2);
        bool negated = escaped == 'P';
        if (name.starts_with('^')) {
          negated = !negated;
          name.remove_prefix(1);
        }
        out += fmt::format("\\{}{{{}{}}}", negated ? 'P' : 'p', IsCategory(name) ? "" : "sc:", name);
        i = close;
        break;
      }
      case 'B':
      case 'H':
      case 'R':
      case 'X':
      case 'K':
      case 'k':
      case 'g':
      case 'G':
      case 'Z':
      case 'y':
      case 'Y':
      case 'O':
      case 'N':
        Refuse(pattern, fmt::format("uses \\{}, which is not implemented", escaped));
      case 'u': {  // \uHHHH
        const std::string_view digits = pattern.substr(i + 1, 4);
        if (digits.size() != 4 || digits.find_first_not_of("0123456789abcdefABCDEF") != std::string_view::npos) {
          Refuse(pattern, "has \\u without four hexadecimal digits");
        }
        out += fmt::format("\\x{{{}}}", digits);
        i += 4;
        break;
      }
      default:
        out += '\\';
        out += escaped;
    }
  }
  return out;
}

struct Regex::Code {
  pcre2_code* code = nullptr;
  ~Code() { pcre2_code_free(code); }
};

Regex::Regex(std::string_view pattern) : code_(std::make_unique<Code>()) {
  const std::string translated = TranslateRegex(pattern);
  int error = 0;
  size_t offset = 0;
  pcre2_compile_context* context = pcre2_compile_context_create(nullptr);
  pcre2_set_newline(context, PCRE2_NEWLINE_LF);
  code_->code =
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                    PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C, &error, &offset, context);
  pcre2_compile_context_free(context);
  if (!code_->code) {
    std::array<PCRE2_UCHAR, 256> message{};
    pcre2_get_error_message(error, message.data(), message.size());
    Refuse(pattern, fmt::format("cannot be compiled: {}", reinterpret_cast<const char*>(message.data())));
  }
  pcre2_jit_compile(code_->code, PCRE2_JIT_COMPLETE);  // without a JIT it is interpreted
}

Regex::~Regex() = default;
Regex::Regex(Regex&&) noexcept = default;
Regex& Regex::operator=(Regex&&) noexcept = default;

std::vector<Regex::Match> Regex::FindAll(std::string_view text) const {
  struct Scratch {
    pcre2_match_context* context = pcre2_match_context_create(nullptr);
    pcre2_jit_stack* stack = pcre2_jit_stack_create(size_t{32} << 10, size_t{8} << 20, nullptr);
    pcre2_match_data* match = pcre2_match_data_create(1, nullptr);
    Scratch() {
      pcre2_jit_stack_assign(context, nullptr, stack);
      pcre2_set_match_limit(context, 10'000'000);
    }
    ~Scratch() {
      pcre2_match_data_free(match);
      pcre2_jit_stack_free(stack);
      pcre2_match_context_free(context);
    }
  };
  thread_local const Scratch scratch;
  std::vector<Match> matches;
  const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  size_t at = 0;
  uint32_t options = PCRE2_NO_UTF_CHECK;
  while (at <= text.size()) {
    int found = pcre2_match(code_->code, subject, text.size(), at, options, scratch.match, scratch.context);
    if (found == PCRE2_ERROR_JIT_STACKLIMIT) {
      found =
          pcre2_match(code_->code, subject, text.size(), at, options | PCRE2_NO_JIT, scratch.match, scratch.context);
    }
    if (found < 0) break;
    const PCRE2_SIZE* bounds = pcre2_get_ovector_pointer(scratch.match);
    matches.push_back({bounds[0], bounds[1]});
    at = bounds[1];
    if (bounds[0] == bounds[1]) {  // an empty match: on by one character
      if (at >= text.size()) break;
      do {
        ++at;
      } while (at < text.size() && (static_cast<unsigned char>(text[at]) & 0xc0) == 0x80);
    }
  }
  return matches;
}

}  // namespace gannet
