// Reads the members of a request's JSON object by name and type. A null member is an absent one. The first mistake is
// kept and named; a member that nobody asked for is a mistake too.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"

namespace gannet {

class FieldReader {
 public:
  explicit FieldReader(const Json& object) : object_(object) {}  // `object` is an object and outlives the reader

  std::optional<double> Number(std::string_view name, double low, double high);
  std::optional<int64_t> Integer(std::string_view name, int64_t low, int64_t high);
  std::optional<bool> Bool(std::string_view name);
  std::optional<std::string> String(std::string_view name);
  const Json* Object(std::string_view name);
  const Json* Array(std::string_view name);
  const Json* Any(std::string_view name);  // null when absent

  // Members that change nothing the caller could see.
  void Ignore(std::initializer_list<std::string_view> names);
  // A member that asks for something this server does not do; null, false, "", [] and {} ask for nothing.
  void Refuse(std::initializer_list<std::string_view> names);
  // Records a mistake unless there is one already.
  void Fail(std::string_view name, std::string message);

  // After everything was read: the first mistake, or a member nobody asked for.
  Status Finish() const;

 private:
  void WrongType(std::string_view name, std::string_view wanted, const Json& value);

  const Json& object_;
  std::set<std::string, std::less<>> known_;
  std::optional<Error> error_;
};

}  // namespace gannet
