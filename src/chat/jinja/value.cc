#include "chat/jinja/value.h"

#include <algorithm>
#include <cmath>

namespace gannet::jinja {

void Fail(std::string message) { throw Failure{std::move(message)}; }

void Fuel::Charge(int64_t steps) {
  steps_ -= steps;
  if (steps_ < 0) Fail("the template takes more than " + std::to_string(limits_.steps) + " steps");
}

void Fuel::Fits(size_t bytes) const {
  if (bytes > limits_.text_bytes) {
    Fail("the template makes a value of more than " + std::to_string(limits_.text_bytes) + " bytes");
  }
}

void Fuel::Grow(size_t bytes) {
  Fits(bytes);
  Charge(static_cast<int64_t>(bytes / 64) + 1);
}

void Fuel::Enter() {
  if (++depth_ > limits_.depth) {
    --depth_;
    Fail("the template nests too deeply; does a macro call itself without end?");
  }
}

std::string IntToString(Int value) {
  unsigned __int128 rest = value < 0 ? -static_cast<unsigned __int128>(value) : static_cast<unsigned __int128>(value);
  std::string digits;
  do {
    digits += static_cast<char>('0' + static_cast<int>(rest % 10));
    rest /= 10;
  } while (rest != 0);
  if (value < 0) digits += '-';
  std::reverse(digits.begin(), digits.end());
  return digits;
}

namespace {
int Deeper(int depth) {
  if (depth + 1 > kMaxValueDepth) Fail("the template nests values too deeply");
  return depth + 1;
}
int DepthOf(const std::vector<Value>& items) {
  int depth = 0;
  for (const Value& item : items) depth = std::max(depth, item.depth());
  return Deeper(depth);
}
int DepthOf(const Dict& dict) {
  int depth = 0;
  for (const auto& [key, value] : dict.items()) depth = std::max({depth, key.depth(), value.depth()});
  return Deeper(depth);
}
}  // namespace

SequenceObject::SequenceObject(Kind k, std::vector<Value> i, std::string l)
    : Object(k, DepthOf(i)), items(std::move(i)), label(std::move(l)) {}
DictObject::DictObject(Dict d) : Object(Kind::kDict, DepthOf(d)), dict(std::move(d)) {}
MethodObject::MethodObject(Value s, std::string n)
    : Object(Kind::kMethod, Deeper(s.depth())), self(std::move(s)), name(std::move(n)) {}

Value::Value(std::string value) : state_(std::make_shared<StringObject>(std::move(value), false)) {}
Value Value::Undefined(std::string message) { return Value(std::make_shared<UndefinedObject>(std::move(message))); }
Value Value::Markup(std::string text) { return Value(std::make_shared<StringObject>(std::move(text), true)); }
Value Value::Sequence(Kind kind, std::vector<Value> items, std::string label) {
  return Value(std::make_shared<SequenceObject>(kind, std::move(items), std::move(label)));
}
Value MakeDict(Dict dict) { return Value(std::make_shared<DictObject>(std::move(dict))); }
const Dict& DictOf(const Value& value) { return value.as<DictObject>().dict; }

Value Value::FromJson(const Json& json) {
  if (json.is_null()) return {};
  if (json.is_bool()) return json.as_bool();
  if (json.is_integer()) {
    if (const auto value = json.as_int()) return *value;
    return static_cast<Int>(json.as_uint().value_or(0));
  }
  if (json.is_number()) return json.as_double();
  if (json.is_string()) return json.as_string();
  if (json.is_array()) {
    std::vector<Value> items;
    items.reserve(json.as_array().size());
    for (const Json& item : json.as_array()) items.push_back(FromJson(item));
    return List(std::move(items));
  }
  Dict dict;
  for (const Json::Member& member : json.as_object()) dict.SetNew(member.key, FromJson(member.value));
  return MakeDict(std::move(dict));
}

Kind Value::kind() const {
  switch (state_.index()) {
    case 0:
      return Kind::kNone;
    case 1:
      return Kind::kBool;
    case 2:
      return Kind::kInt;
    case 3:
      return Kind::kFloat;
    default:
      return object()->kind;
  }
}

bool Value::is_markup() const { return is_string() && as<StringObject>().markup; }
double Value::as_double() const { return is(Kind::kFloat) ? std::get<double>(state_) : static_cast<double>(as_int()); }
const std::string& Value::as_string() const { return as<StringObject>().text; }
const std::vector<Value>& Value::items() const { return as<SequenceObject>().items; }
int Value::depth() const { return state_.index() == 4 ? object()->depth : 0; }

bool Value::SameAs(const Value& other) const {
  if (state_.index() != other.state_.index()) return false;
  if (state_.index() != 4) return state_ == other.state_;
  return object() == other.object() || (is_string() && other.is_string() && as_string() == other.as_string());
}

bool Value::Truthy() const {
  switch (kind()) {
    case Kind::kUndefined:
    case Kind::kNone:
      return false;
    case Kind::kBool:
      return as_bool();
    case Kind::kInt:
      return as_int() != 0;
    case Kind::kFloat:
      return as_double() != 0;
    case Kind::kString:
      return !as_string().empty();
    case Kind::kList:
    case Kind::kTuple:
    case Kind::kRange:
    case Kind::kView:
      return !items().empty();
    case Kind::kDict:
      return DictOf(*this).size() != 0;
    default:
      return true;
  }
}

std::string_view Value::TypeName() const {
  switch (kind()) {
    case Kind::kUndefined:
      return "Undefined";
    case Kind::kNone:
      return "NoneType";
    case Kind::kBool:
      return "bool";
    case Kind::kInt:
      return "int";
    case Kind::kFloat:
      return "float";
    case Kind::kString:
      return is_markup() ? "Markup" : "str";
    case Kind::kList:
      return "list";
    case Kind::kTuple:
      return "tuple";
    case Kind::kRange:
      return "range";
    case Kind::kView:
      return as<SequenceObject>().label;
    case Kind::kGenerator:
      return "generator";
    case Kind::kDict:
      return "dict";
    case Kind::kNamespace:
      return "TemplateNamespace";
    case Kind::kMacro:
      return "Macro";
    case Kind::kMethod:
      return "builtin_function_or_method";
    case Kind::kFunction:
      return "function";
    case Kind::kLoop:
      return "LoopContext";
  }
  return "object";
}

std::string Value::ObjectTypeName() const {
  switch (kind()) {
    case Kind::kNone:
      return "None";
    case Kind::kNamespace:
      return "transformers.utils.chat_template_utils._cached_compile_jinja_template.<locals>."
             "TemplateNamespace object";
    case Kind::kMacro:
      return "jinja2.runtime.Macro object";
    case Kind::kLoop:
      return "jinja2.runtime.LoopContext object";
    default:
      return std::string(TypeName()) + " object";
  }
}

void Dict::SetNew(std::string key, Value value) {
  index_.emplace(std::hash<std::string_view>()(key), items_.size());
  items_.emplace_back(std::move(key), std::move(value));
}

size_t Dict::IndexOf(const Value& key, uint64_t hash, Fuel& fuel) const {
  for (auto [it, end] = index_.equal_range(hash); it != end; ++it) {
    if (Equal(items_[it->second].first, key, fuel)) return it->second;
  }
  return items_.size();
}

void Dict::Set(Value key, Value value, Fuel& fuel) {
  const uint64_t hash = Hash(key, fuel);
  const size_t at = IndexOf(key, hash, fuel);
  if (at < items_.size()) {
    items_[at].second = std::move(value);
    return;
  }
  index_.emplace(hash, items_.size());
  items_.emplace_back(std::move(key), std::move(value));
}

const Value* Dict::Find(const Value& key, Fuel& fuel) const {
  const size_t at = IndexOf(key, Hash(key, fuel), fuel);
  return at < items_.size() ? &items_[at].second : nullptr;
}

const Value* Dict::Find(std::string_view key) const {
  for (auto [it, end] = index_.equal_range(std::hash<std::string_view>()(key)); it != end; ++it) {
    const auto& [name, value] = items_[it->second];
    if (name.is_string() && name.as_string() == key) return &value;
  }
  return nullptr;
}

void Dict::Clear() {
  items_.clear();
  index_.clear();
}

uint64_t Hash(const Value& value, Fuel& fuel) {
  fuel.Charge();
  switch (value.kind()) {
    case Kind::kString:
      return std::hash<std::string_view>()(value.as_string());
    case Kind::kBool:
    case Kind::kInt:
    case Kind::kFloat:
      return std::hash<double>()(value.as_double());
    case Kind::kNone:
      return 0x9e3779b9u;
    case Kind::kUndefined:
      return 0x7f4a7c15u;
    case Kind::kTuple: {
      uint64_t hash = 0x345678u;
      for (const Value& item : value.items()) hash = (hash ^ Hash(item, fuel)) * 1000003u + 97531u;
      return hash;
    }
    case Kind::kList:
    case Kind::kDict:
    case Kind::kView:
      Fail("unhashable type: '" + std::string(value.TypeName()) + "'");
    default:
      return std::hash<const void*>()(value.object().get());
  }
}

bool Equal(const Value& a, const Value& b, Fuel& fuel) {
  fuel.Charge();
  if (a.is_number() && b.is_number()) {
    if (a.is_integer() && b.is_integer()) return a.as_int() == b.as_int();
    return a.as_double() == b.as_double();
  }
  if (a.kind() != b.kind()) return false;
  switch (a.kind()) {
    case Kind::kNone:
    case Kind::kUndefined:
      return true;
    case Kind::kString:
      return a.as_string() == b.as_string();
    case Kind::kList:
    case Kind::kTuple:
    case Kind::kRange: {
      const auto& x = a.items();
      const auto& y = b.items();
      return x.size() == y.size() &&
             std::equal(x.begin(), x.end(), y.begin(), [&](auto& p, auto& q) { return Equal(p, q, fuel); });
    }
    case Kind::kDict: {
      const Dict& x = DictOf(a);
      const Dict& y = DictOf(b);
      if (x.size() != y.size()) return false;
      return std::all_of(x.items().begin(), x.items().end(), [&](const auto& item) {
        const Value* other = y.Find(item.first, fuel);
        return other != nullptr && Equal(item.second, *other, fuel);
      });
    }
    default:
      return a.object() == b.object();
  }
}

bool Less(const Value& a, const Value& b, Fuel& fuel) {
  fuel.Charge();
  for (const Value* side : {&a, &b}) {
    if (side->is_undefined()) Fail(side->as<UndefinedObject>().message);
  }
  if (a.is_number() && b.is_number()) {
    if (a.is_integer() && b.is_integer()) return a.as_int() < b.as_int();
    return a.as_double() < b.as_double();
  }
  if (a.is_string() && b.is_string()) return a.as_string() < b.as_string();
  if (a.kind() == b.kind() && (a.is(Kind::kList) || a.is(Kind::kTuple))) {
    const auto& x = a.items();
    const auto& y = b.items();
    for (size_t i = 0; i < x.size() && i < y.size(); ++i) {
      if (!Equal(x[i], y[i], fuel)) return Less(x[i], y[i], fuel);
    }
    return x.size() < y.size();
  }
  Fail("'<' not supported between instances of '" + std::string(a.TypeName()) + "' and '" + std::string(b.TypeName()) +
       "'");
}

}  // namespace gannet::jinja
