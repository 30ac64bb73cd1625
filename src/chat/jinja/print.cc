#include "chat/jinja/print.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "chat/jinja/interpreter.h"
#include "chat/jinja/text.h"

namespace gannet::jinja {
namespace {

class Printer {
 public:
  explicit Printer(Fuel& fuel) : fuel_(fuel) {}

  void Repr(const Value& value) {
    const Nested nested(fuel_);
    fuel_.Charge();
    switch (value.kind()) {
      case Kind::kUndefined:
        return Add("Undefined");
      case Kind::kString:
        Add(value.is_markup() ? "Markup(" + StringRepr(value.as_string()) + ")" : StringRepr(value.as_string()));
        return;
      case Kind::kList:
        return Items(value.items(), "[", "]");
      case Kind::kTuple:
        return Items(value.items(), "(", value.items().size() == 1 ? ",)" : ")");
      case Kind::kView:
        Add(value.as<SequenceObject>().label + "(");
        Items(value.items(), "[", "]");
        return Add(")");
      case Kind::kDict:
        return Members(DictOf(value));
      case Kind::kNamespace:
        Add("<Namespace ");
        Members(value.as<NamespaceObject>().dict);
        return Add(">");
      default:
        Add(Plain(value));
    }
  }
  std::string Take() { return std::move(out_); }

  std::string Plain(const Value& value) {
    switch (value.kind()) {
      case Kind::kNone:
        return "None";
      case Kind::kBool:
        return value.as_bool() ? "True" : "False";
      case Kind::kInt:
        return IntToString(value.as_int());
      case Kind::kFloat:
        return FloatRepr(value.as_double());
      case Kind::kRange:
        return value.as<SequenceObject>().label;
      case Kind::kMacro:
        return "<Macro " + StringRepr(value.as<MacroObject>().node->name) + ">";
      case Kind::kLoop: {
        auto& loop = value.as<LoopObject>();
        return fmt::format("<LoopContext {}/{}>", loop.index + 1, loop.Length());
      }
      default:
        Fail(fmt::format("a {} cannot be printed; it has no text of its own", value.TypeName()));
    }
  }

 private:
  void Add(std::string_view text) {
    fuel_.Grow(text.size());
    fuel_.Fits(out_.size() + text.size());
    out_ += text;
  }
  void Items(const std::vector<Value>& items, const char* open, const char* close) {
    Add(open);
    for (size_t i = 0; i < items.size(); ++i) {
      if (i != 0) Add(", ");
      Repr(items[i]);
    }
    Add(close);
  }
  void Members(const Dict& dict) {
    Add("{");
    for (size_t i = 0; i < dict.items().size(); ++i) {
      if (i != 0) Add(", ");
      Repr(dict.items()[i].first);
      Add(": ");
      Repr(dict.items()[i].second);
    }
    Add("}");
  }

  Fuel& fuel_;
  std::string out_;
};

void AppendJsonString(std::string_view text, bool ensure_ascii, std::string& out) {
  out += '"';
  for (size_t at = 0; at < text.size();) {
    const size_t start = at;
    const uint32_t c = NextCodePoint(text, at);
    switch (c) {
      case '"':
        out += "\\\"";
        continue;
      case '\\':
        out += "\\\\";
        continue;
      case '\n':
        out += "\\n";
        continue;
      case '\r':
        out += "\\r";
        continue;
      case '\t':
        out += "\\t";
        continue;
      case '\b':
        out += "\\b";
        continue;
      case '\f':
        out += "\\f";
        continue;
      default:
        break;
    }
    if (c < 0x20 || (ensure_ascii && c > 0x7e && c < 0x10000)) {
      out += fmt::format("\\u{:04x}", c);
    } else if (ensure_ascii && c >= 0x10000) {
      out += fmt::format("\\u{:04x}\\u{:04x}", 0xd7c0 + (c >> 10), 0xdc00 + (c & 0x3ff));
    } else {
      out += text.substr(start, at - start);
    }
  }
  out += '"';
}

class JsonWriter {
 public:
  JsonWriter(const JsonStyle& style, Fuel& fuel) : style_(style), fuel_(fuel) {}

  void Write(const Value& value, int level) {
    const Nested nested(fuel_);
    fuel_.Charge();
    if (value.is(Kind::kList) || value.is(Kind::kTuple)) return Items(value.items(), level);
    if (value.is(Kind::kDict)) return Members(DictOf(value), level);
    if (value.is_string()) {
      const size_t before = out_.size();
      AppendJsonString(value.as_string(), style_.ensure_ascii, out_);
      return fuel_.Grow(out_.size() - before);
    }
    out_ += Scalar(value);
  }
  std::string Take() { return std::move(out_); }

 private:
  static std::string Scalar(const Value& value) {
    switch (value.kind()) {
      case Kind::kNone:
        return "null";
      case Kind::kBool:
        return value.as_bool() ? "true" : "false";
      case Kind::kInt:
        return IntToString(value.as_int());
      case Kind::kFloat: {
        const double number = value.as_double();
        if (std::isnan(number)) return "NaN";
        if (std::isinf(number)) return number > 0 ? "Infinity" : "-Infinity";
        return FloatRepr(number);
      }
      default:
        Fail(fmt::format("Object of type {} is not JSON serializable", value.TypeName()));
    }
  }
  void NewLine(int level) {
    fuel_.Fits(out_.size());
    if (!style_.indent) return;
    fuel_.Grow(style_.indent->size() * static_cast<size_t>(level));
    out_ += '\n';
    for (int i = 0; i < level; ++i) out_ += *style_.indent;
  }
  void Items(const std::vector<Value>& items, int level) {
    if (items.empty()) {
      out_ += "[]";
      return;
    }
    out_ += '[';
    for (size_t i = 0; i < items.size(); ++i) {
      if (i != 0) out_ += style_.item_separator;
      NewLine(level + 1);
      Write(items[i], level + 1);
    }
    NewLine(level);
    out_ += ']';
  }
  void Members(const Dict& dict, int level) {
    if (dict.size() == 0) {
      out_ += "{}";
      return;
    }
    std::vector<const std::pair<Value, Value>*> members;
    for (const auto& member : dict.items()) members.push_back(&member);
    if (style_.sort_keys) {
      std::stable_sort(members.begin(), members.end(),
                       [&](const auto* a, const auto* b) { return Less(a->first, b->first, fuel_); });
    }
    out_ += '{';
    bool first = true;
    for (const auto* member : members) {
      if (!first) out_ += style_.item_separator;
      first = false;
      NewLine(level + 1);
      const Value& key = member->first;
      if (!key.is_string() && !key.is_none() && !key.is_number()) {
        Fail(fmt::format("keys must be str, int, float, bool or None, not {}", key.TypeName()));
      }
      AppendJsonString(key.is_string() ? key.as_string() : Scalar(key), style_.ensure_ascii, out_);
      out_ += style_.key_separator;
      Write(member->second, level + 1);
    }
    NewLine(level);
    out_ += '}';
  }

  const JsonStyle& style_;
  Fuel& fuel_;
  std::string out_;
};

}  // namespace

std::string FloatRepr(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  char buffer[40] = {};  // atoi reads on to the zero
  const auto end = std::to_chars(buffer, buffer + sizeof buffer - 1, value, std::chars_format::scientific).ptr;
  const std::string_view shortest(buffer, static_cast<size_t>(end - buffer));
  const size_t e = shortest.find('e');
  const int exponent = std::atoi(shortest.data() + e + 1);
  if (exponent < -4 || exponent >= 16) {
    return std::string(shortest);  // to_chars, like Python, writes at least two digits of exponent
  }
  std::string digits(shortest.substr(0, e));
  std::string_view sign;
  if (digits[0] == '-') {
    sign = "-";
    digits.erase(0, 1);
  }
  std::erase(digits, '.');
  const int count = static_cast<int>(digits.size());
  if (exponent < 0) return fmt::format("{}0.{:0>{}}", sign, digits, count - exponent - 1);
  if (count <= exponent + 1) return fmt::format("{}{:0<{}}.0", sign, digits, exponent + 1);
  const auto point = static_cast<size_t>(exponent + 1);
  return fmt::format("{}{}.{}", sign, digits.substr(0, point), digits.substr(point));
}

std::string StringRepr(std::string_view text) {
  const bool has_single = text.find('\'') != std::string_view::npos;
  const bool has_double = text.find('"') != std::string_view::npos;
  const char quote = has_single && !has_double ? '"' : '\'';
  std::string out(1, quote);
  for (size_t at = 0; at < text.size();) {
    const size_t start = at;
    const uint32_t c = NextCodePoint(text, at);
    if (c == static_cast<uint32_t>(quote) || c == '\\') {
      out += '\\';
      out += static_cast<char>(c);
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\r') {
      out += "\\r";
    } else if (c == '\t') {
      out += "\\t";
    } else if (IsPrintable(c)) {
      out += text.substr(start, at - start);
    } else if (c < 0x100) {
      out += fmt::format("\\x{:02x}", c);
    } else if (c < 0x10000) {
      out += fmt::format("\\u{:04x}", c);
    } else {
      out += fmt::format("\\U{:08x}", c);
    }
  }
  return out + quote;
}

std::string Str(const Value& value, Fuel& fuel) {
  if (value.is_string()) return value.as_string();
  if (value.is_undefined()) return {};
  return Repr(value, fuel);
}

std::string Repr(const Value& value, Fuel& fuel) {
  Printer printer(fuel);
  printer.Repr(value);
  return printer.Take();
}

std::string ToJson(const Value& value, const JsonStyle& style, Fuel& fuel) {
  JsonWriter writer(style, fuel);
  writer.Write(value, 0);
  std::string out = writer.Take();
  fuel.Grow(out.size());
  return out;
}

}  // namespace gannet::jinja
