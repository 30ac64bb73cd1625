// Result<T>: a value or an Error that a person can act on. A user's mistake is returned; a model or machine that
// cannot be used is thrown as LoadError; a programmer's mistake is GANNET_ASSERT.
#pragma once

#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <variant>

namespace gannet {

enum class ErrorKind { kInvalid, kNotFound, kTooLarge, kBusy, kUnavailable, kInternal };

struct Error {
  std::string message;  // one sentence: what, where, what to do
  ErrorKind kind = ErrorKind::kInvalid;
  std::string param = {};  // name of the request field or flag at fault, if one is
};

template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}

  bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }
  T& value() & { return std::get<0>(state_); }
  const T& value() const& { return std::get<0>(state_); }
  T&& value() && { return std::get<0>(std::move(state_)); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  const Error& error() const { return std::get<1>(state_); }

 private:
  std::variant<T, Error> state_;
};

using Status = Result<std::monostate>;
inline Status Ok() { return std::monostate{}; }

// Thrown while loading: the model or the machine cannot be used. `room` prefixes the sentence ("checkpoint: ...").
class LoadError : public std::runtime_error {
 public:
  LoadError(const std::string& room, const std::string& sentence) : std::runtime_error(room + ": " + sentence) {}
};

[[noreturn]] void AssertFailed(const char* file, int line, const char* sentence);

}  // namespace gannet

#define GANNET_ASSERT(condition, sentence) \
  ((condition) ? static_cast<void>(0) : ::gannet::AssertFailed(__FILE__, __LINE__, sentence))

#define GANNET_CONCAT_(a, b) a##b
#define GANNET_CONCAT(a, b) GANNET_CONCAT_(a, b)
#define GANNET_TRY_IMPL_(tmp, declaration, expression) \
  auto tmp = (expression);                             \
  if (!tmp.ok()) return tmp.error();                   \
  declaration = std::move(tmp).value()
// GANNET_TRY(auto x, F()): returns F()'s error from the enclosing function, or declares x with its value.
#define GANNET_TRY(declaration, expression) GANNET_TRY_IMPL_(GANNET_CONCAT(result_, __LINE__), declaration, expression)
