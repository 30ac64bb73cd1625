#include "server/field_reader.h"

#include <fmt/format.h>

#include <cmath>

namespace gannet {
namespace {

bool AsksForNothing(const Json& value) {
  if (value.is_bool()) return !value.as_bool();
  if (value.is_string()) return value.as_string().empty();
  if (value.is_array()) return value.as_array().empty();
  if (value.is_object()) return value.as_object().empty();
  return value.is_null();
}

// A name from the request, fit for a sentence.
std::string Shorten(std::string_view name) {
  return name.size() <= 64 ? std::string(name) : std::string(name.substr(0, 61)) + "...";
}

}  // namespace

const Json* FieldReader::Any(std::string_view name) {
  known_.emplace(name);
  const Json* value = object_.Find(name);
  return value == nullptr || value->is_null() ? nullptr : value;
}

std::optional<double> FieldReader::Number(std::string_view name, double low, double high) {
  const Json* value = Any(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_number()) {
    WrongType(name, "a number", *value);
    return std::nullopt;
  }
  const double number = value->as_double();
  if (!(number >= low && number <= high)) {
    Fail(name, fmt::format("'{}' is {}, but it must be between {} and {}.", name, number, low, high));
    return std::nullopt;
  }
  return number;
}

std::optional<int64_t> FieldReader::Integer(std::string_view name, int64_t low, int64_t high) {
  const Json* value = Any(name);
  if (value == nullptr) return std::nullopt;
  const std::optional<int64_t> number = value->is_number() ? value->as_int() : std::nullopt;
  if (!number) {
    WrongType(name, "an integer of at most 64 bits", *value);
    return std::nullopt;
  }
  if (*number < low || *number > high) {
    Fail(name, fmt::format("'{}' is {}, but it must be between {} and {}.", name, *number, low, high));
    return std::nullopt;
  }
  return number;
}

std::optional<bool> FieldReader::Bool(std::string_view name) {
  const Json* value = Any(name);
  if (value == nullptr) return std::nullopt;
  if (value->is_bool()) return value->as_bool();
  WrongType(name, "true or false", *value);
  return std::nullopt;
}

std::optional<std::string> FieldReader::String(std::string_view name) {
  const Json* value = Any(name);
  if (value == nullptr) return std::nullopt;
  if (value->is_string()) return value->as_string();
  WrongType(name, "a string", *value);
  return std::nullopt;
}

const Json* FieldReader::Object(std::string_view name) {
  const Json* value = Any(name);
  if (value == nullptr || value->is_object()) return value;
  WrongType(name, "an object", *value);
  return nullptr;
}

const Json* FieldReader::Array(std::string_view name) {
  const Json* value = Any(name);
  if (value == nullptr || value->is_array()) return value;
  WrongType(name, "an array", *value);
  return nullptr;
}

void FieldReader::Ignore(std::initializer_list<std::string_view> names) {
  for (const std::string_view name : names) known_.emplace(name);
}

void FieldReader::Refuse(std::initializer_list<std::string_view> names) {
  for (const std::string_view name : names) {
    const Json* value = Any(name);
    if (value != nullptr && !AsksForNothing(*value)) {
      Fail(name, fmt::format("'{}' is not supported by this server; leave it out.", name));
    }
  }
}

void FieldReader::Fail(std::string_view name, std::string message) {
  if (!error_) error_ = Error{std::move(message), ErrorKind::kInvalid, std::string(name)};
}

void FieldReader::WrongType(std::string_view name, std::string_view wanted, const Json& value) {
  Fail(name, fmt::format("'{}' must be {}, not {}.", name, wanted, value.type_name()));
}

Status FieldReader::Finish() const {
  if (error_) return *error_;
  for (const Json::Member& member : object_.as_object()) {
    if (!known_.contains(member.key)) {
      const std::string name = Shorten(member.key);
      return Error{fmt::format("'{}' is no field that this server knows; leave it out.", name), ErrorKind::kInvalid,
                   name};
    }
  }
  return Ok();
}

}  // namespace gannet
