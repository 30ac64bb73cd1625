// The values a template works on: Python's, as far as chat templates see them. Every value is immutable except a
// namespace and the position of an iterator, as in the sandbox that transformers renders with.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "base/json.h"

namespace gannet::jinja {

// Thrown inside the engine only; ChatTemplate turns it into an Error.
struct Failure {
  std::string message;
  bool refused = false;  // by the template's own raise_exception
};
[[noreturn]] void Fail(std::string message);

struct Limits {
  int64_t steps = 20'000'000;            // evaluated nodes, plus the size of what they make
  size_t text_bytes = size_t{64} << 20;  // of one string, and of the output
  int depth = 1200;                      // nested evaluations
};

// What is left to one rendering.
class Fuel {
 public:
  explicit Fuel(const Limits& limits) : limits_(limits), steps_(limits.steps) {}
  void Charge(int64_t steps = 1);
  // To be called before `bytes` of text or values are made.
  void Grow(size_t bytes);
  // The size that a text under construction has reached.
  void Fits(size_t bytes) const;
  void Enter();
  void Leave() { --depth_; }

 private:
  Limits limits_;
  int64_t steps_;
  int depth_ = 0;
};
class Nested {
 public:
  explicit Nested(Fuel& fuel) : fuel_(fuel) { fuel_.Enter(); }
  ~Nested() { fuel_.Leave(); }
  Nested(const Nested&) = delete;
  Nested& operator=(const Nested&) = delete;

 private:
  Fuel& fuel_;
};

using Int = __int128;  // Python's integers have no bound; JSON's may need 64 bits unsigned
std::string IntToString(Int value);

enum class Kind : uint8_t {
  kUndefined,
  kNone,
  kBool,
  kInt,
  kFloat,
  kString,
  kList,
  kTuple,
  kRange,
  kView,       // of dict.keys(), values(), items()
  kGenerator,  // read once
  kDict,
  kNamespace,
  kMacro,
  kMethod,  // bound to its value
  kFunction,
  kLoop
};

inline constexpr int kMaxValueDepth = 200;

struct Object {
  explicit Object(Kind k, int d = 0) : kind(k), depth(d) {}
  virtual ~Object() = default;
  const Kind kind;
  int depth;  // of nested containers, at most kMaxValueDepth
};

class Value {
 public:
  Value() : state_(std::monostate{}) {}  // None
  Value(bool value) : state_(value) {}
  Value(int value) : state_(static_cast<Int>(value)) {}
  Value(int64_t value) : state_(static_cast<Int>(value)) {}
  Value(size_t value) : state_(static_cast<Int>(value)) {}
  Value(Int value) : state_(value) {}
  Value(double value) : state_(value) {}
  Value(std::string value);
  Value(std::string_view value) : Value(std::string(value)) {}
  Value(const char* value) : Value(std::string(value)) {}
  Value(std::shared_ptr<Object> object) : state_(std::move(object)) {}

  static Value Undefined(std::string message);
  static Value Markup(std::string text);
  // kList, kTuple, kRange, kView or kGenerator. `label` is what a range or view prints, or the view's name.
  static Value Sequence(Kind kind, std::vector<Value> items, std::string label = {});
  static Value List(std::vector<Value> items) { return Sequence(Kind::kList, std::move(items)); }
  static Value Tuple(std::vector<Value> items) { return Sequence(Kind::kTuple, std::move(items)); }
  static Value FromJson(const Json& json);

  Kind kind() const;
  bool is(Kind k) const { return kind() == k; }
  bool is_undefined() const { return is(Kind::kUndefined); }
  bool is_none() const { return is(Kind::kNone); }
  bool is_string() const { return is(Kind::kString); }
  bool is_integer() const { return is(Kind::kInt) || is(Kind::kBool); }  // Python's bool is an int
  bool is_number() const { return is_integer() || is(Kind::kFloat); }
  bool is_sequence() const { return kind() >= Kind::kList && kind() <= Kind::kGenerator; }
  bool is_markup() const;

  // The caller has asked for the kind.
  bool as_bool() const { return std::get<bool>(state_); }
  Int as_int() const { return is(Kind::kBool) ? Int{as_bool()} : std::get<Int>(state_); }
  double as_double() const;
  const std::string& as_string() const;
  const std::vector<Value>& items() const;  // of a sequence kind
  template <typename T>
  T& as() const {
    return static_cast<T&>(*std::get<std::shared_ptr<Object>>(state_));
  }
  const std::shared_ptr<Object>& object() const { return std::get<std::shared_ptr<Object>>(state_); }
  int depth() const;
  bool SameAs(const Value& other) const;  // Python's `is`

  bool Truthy() const;
  std::string_view TypeName() const;   // Python's type(x).__name__
  std::string ObjectTypeName() const;  // as jinja2 names it in its sentences: "dict object", "None"

 private:
  std::variant<std::monostate, bool, Int, double, std::shared_ptr<Object>> state_;
};

struct UndefinedObject : Object {
  explicit UndefinedObject(std::string m) : Object(Kind::kUndefined), message(std::move(m)) {}
  const std::string message;
};
struct StringObject : Object {
  StringObject(std::string t, bool m) : Object(Kind::kString), text(std::move(t)), markup(m) {}
  const std::string text;
  const bool markup;
};
struct SequenceObject : Object {
  SequenceObject(Kind k, std::vector<Value> i, std::string l);
  const std::vector<Value> items;
  const std::string label;
  size_t next = 0;  // a generator's position
};

// Keys in order of insertion. Fails with a sentence when a key cannot be hashed.
class Dict {
 public:
  void Set(Value key, Value value, Fuel& fuel);
  const Value* Find(const Value& key, Fuel& fuel) const;
  const Value* Find(std::string_view key) const;
  const std::vector<std::pair<Value, Value>>& items() const { return items_; }
  size_t size() const { return items_.size(); }
  void Clear();

 private:
  friend class Value;
  void SetNew(std::string key, Value value);
  size_t IndexOf(const Value& key, uint64_t hash, Fuel& fuel) const;
  std::vector<std::pair<Value, Value>> items_;
  std::unordered_multimap<uint64_t, size_t> index_;
};
struct DictObject : Object {
  explicit DictObject(Dict d);
  const Dict dict;
};
struct NamespaceObject : Object {
  explicit NamespaceObject(Dict d) : Object(Kind::kNamespace), dict(std::move(d)) {}
  Dict dict;
};
struct MethodObject : Object {
  MethodObject(Value s, std::string n);
  const Value self;
  const std::string name;
};
Value MakeDict(Dict dict);
const Dict& DictOf(const Value& value);  // of kDict

// Arguments of a call, filter or test.
struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;
};
class Interpreter;
struct FunctionObject : Object {
  using Body = Value (*)(Interpreter& interpreter, const Arguments& arguments);
  FunctionObject(std::string n, Body b) : Object(Kind::kFunction), name(std::move(n)), body(b) {}
  const std::string name;
  const Body body;
};

// Python's ==, hash and < (which fails for kinds that have no order).
bool Equal(const Value& a, const Value& b, Fuel& fuel);
uint64_t Hash(const Value& value, Fuel& fuel);
bool Less(const Value& a, const Value& b, Fuel& fuel);

}  // namespace gannet::jinja
