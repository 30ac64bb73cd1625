#include "models/config_reader.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "base/result.h"

namespace gannet {
namespace {

std::string Short(const Json& value) {
  std::string text = value.Dump();
  if (text.size() > 60) text = text.substr(0, 57) + "...";
  return text;
}

}  // namespace

ConfigReader::ConfigReader(const Json& config, std::string file, ConfigNotes& notes)
    : config_(config), file_(std::move(file)), notes_(notes) {
  if (!config.is_object()) {
    throw LoadError("models", fmt::format("{}: a {} where an object is needed", file_, config.type_name()));
  }
}

void ConfigReader::Fail(std::string_view key, std::string_view problem) const {
  throw LoadError("models", fmt::format("{}: key '{}{}' {}", file_, path_, key, problem));
}

const Json* ConfigReader::Read(std::string_view key) {
  read_.emplace(key);
  const Json* value = config_.Find(key);
  return value && !value->is_null() ? value : nullptr;
}

bool ConfigReader::Has(std::string_view key) const {
  const Json* value = config_.Find(key);
  return value && !value->is_null();
}

bool ConfigReader::IsList(std::string_view key) const {
  const Json* value = config_.Find(key);
  return value && value->is_array();
}

bool ConfigReader::IsZero(std::string_view key) const {
  const Json* value = config_.Find(key);
  return value && value->is_number() && value->as_double() == 0;
}

template <>
std::optional<int64_t> ConfigReader::Find<int64_t>(std::string_view key, IntRange range) {
  const Json* value = Read(key);
  if (!value) return std::nullopt;
  const std::optional<int64_t> number = value->is_number() ? value->as_int() : std::nullopt;
  if (!number) Fail(key, fmt::format("must be a whole number, not {}", Short(*value)));
  if (*number < range.min || *number > range.max) {
    Fail(key, fmt::format("is {}, which is outside {} to {}", *number, range.min, range.max));
  }
  return number;
}

template <>
std::optional<double> ConfigReader::Find<double>(std::string_view key, IntRange) {
  const Json* value = Read(key);
  if (!value) return std::nullopt;
  if (!value->is_number()) Fail(key, fmt::format("must be a number, not {}", Short(*value)));
  const double number = value->as_double();
  if (!std::isfinite(number) || number <= 0 || number > 1e15) {
    Fail(key, fmt::format("is {}, but must be a positive number", Short(*value)));
  }
  return number;
}

template <>
std::optional<bool> ConfigReader::Find<bool>(std::string_view key, IntRange) {
  const Json* value = Read(key);
  if (!value) return std::nullopt;
  if (!value->is_bool()) Fail(key, fmt::format("must be true or false, not {}", Short(*value)));
  return value->as_bool();
}

template <>
std::optional<std::string> ConfigReader::Find<std::string>(std::string_view key, IntRange) {
  const Json* value = Read(key);
  if (!value) return std::nullopt;
  if (!value->is_string()) Fail(key, fmt::format("must be a string, not {}", Short(*value)));
  return value->as_string();
}

template <>
std::optional<std::vector<std::string>> ConfigReader::Find<std::vector<std::string>>(std::string_view key, IntRange) {
  const Json* value = Read(key);
  if (!value) return std::nullopt;
  if (!value->is_array()) Fail(key, fmt::format("must be a list of strings, not {}", Short(*value)));
  std::vector<std::string> list;
  for (const Json& item : value->as_array()) {
    if (!item.is_string()) Fail(key, fmt::format("must be a list of strings, but holds {}", Short(item)));
    list.push_back(item.as_string());
  }
  return list;
}

template <>
std::optional<std::vector<int64_t>> ConfigReader::Find<std::vector<int64_t>>(std::string_view key, IntRange range) {
  const Json* value = Read(key);
  if (!value) return std::nullopt;
  if (!value->is_array()) Fail(key, fmt::format("must be a list of whole numbers, not {}", Short(*value)));
  std::vector<int64_t> list;
  for (const Json& item : value->as_array()) {
    std::optional<int64_t> number = item.is_number() ? item.as_int() : std::nullopt;
    if (item.is_bool()) number = item.as_bool();
    if (!number || *number < range.min || *number > range.max) {
      Fail(key, fmt::format("must hold whole numbers from {} to {}, but holds {}", range.min, range.max, Short(item)));
    }
    list.push_back(*number);
  }
  return list;
}

template <>
std::optional<std::vector<double>> ConfigReader::Find<std::vector<double>>(std::string_view key, IntRange) {
  const Json* value = Read(key);
  if (!value) return std::nullopt;
  if (!value->is_array()) Fail(key, fmt::format("must be a list of numbers, not {}", Short(*value)));
  std::vector<double> list;
  for (const Json& item : value->as_array()) {
    const double number = item.is_null() ? 0 : item.is_number() ? item.as_double() : -1;
    if (!(number >= 0 && number <= 1e15)) {
      Fail(key, fmt::format("must hold numbers that are not negative, but holds {}", Short(item)));
    }
    list.push_back(number);
  }
  return list;
}

template <typename T>
T ConfigReader::Required(std::string_view key, IntRange range) {
  std::optional<T> value = Find<T>(key, range);
  if (!value) Fail(key, "is missing");
  return *std::move(value);
}
template int64_t ConfigReader::Required(std::string_view, IntRange);
template double ConfigReader::Required(std::string_view, IntRange);
template bool ConfigReader::Required(std::string_view, IntRange);
template std::string ConfigReader::Required(std::string_view, IntRange);
template std::vector<std::string> ConfigReader::Required(std::string_view, IntRange);

void ConfigReader::Expect(std::string_view key, std::initializer_list<Json> allowed) {
  const Json* value = Read(key);
  if (!value) return;
  std::vector<std::string> names;
  for (const Json& candidate : allowed) {
    if (*value == candidate) return;
    names.push_back(candidate.Dump());
  }
  Fail(key, fmt::format("is {}, but only {} is served", Short(*value), fmt::join(names, " or ")));
}

void ConfigReader::Ignore(std::initializer_list<std::string_view> keys, std::string_view reason) {
  for (std::string_view key : keys) {
    if (config_.Find(key) && !read_.contains(key))
      notes_.ignored.push_back(fmt::format("{}{}: {}", path_, key, reason));
    read_.emplace(key);
  }
}

void ConfigReader::Notice(std::string text) {
  if (std::ranges::find(notes_.notices, text) == notes_.notices.end()) notes_.notices.push_back(std::move(text));
}

void ConfigReader::IgnorePrefix(std::string_view prefix, std::string_view reason) {
  for (const Json::Member& member : config_.as_object()) {
    if (member.key.starts_with(prefix)) Ignore({member.key}, reason);
  }
}

ConfigReader* ConfigReader::Nested(std::string_view key) {
  if (auto found = nested_.find(key); found != nested_.end()) return found->second.get();
  const Json* value = Read(key);
  if (!value) return nullptr;
  if (!value->is_object()) Fail(key, fmt::format("must be an object, not {}", Short(*value)));
  auto reader = std::make_unique<ConfigReader>(*value, file_, notes_);
  reader->path_ = fmt::format("{}{}.", path_, key);
  return nested_.emplace(key, std::move(reader)).first->second.get();
}

void ConfigReader::CollectUnread(std::vector<std::string>& unread) {
  for (const Json::Member& member : config_.as_object()) {
    if (read_.contains(member.key)) continue;
    if (member.value.is_null()) {
      notes_.ignored.push_back(fmt::format("{}{}: null", path_, member.key));
      continue;
    }
    unread.push_back(fmt::format("'{}{}' ({})", path_, member.key, Short(member.value)));
  }
  for (auto& [key, reader] : nested_) reader->CollectUnread(unread);
}

void ConfigReader::Finish() {
  std::vector<std::string> unread;
  CollectUnread(unread);
  if (unread.empty()) return;
  throw LoadError("models", fmt::format("{}: nothing reads {} {}, which could change the maths; gannet does not know "
                                        "what {} for this architecture",
                                        file_, unread.size() == 1 ? "key" : "keys", fmt::join(unread, ", "),
                                        unread.size() == 1 ? "it means" : "they mean"));
}

template <typename T>
std::optional<T> FindAlias(ConfigReader& reader, const std::vector<std::string_view>& keys, IntRange range) {
  std::optional<T> found;
  for (const std::string_view key : keys) {
    const std::optional<T> value = reader.Find<T>(key, range);
    if (found && value && *found != *value)
      reader.Fail(key, fmt::format("is {}, but {} says {}", *value, keys.front(), *found));
    if (!found) found = value;
  }
  return found;
}
template std::optional<int64_t> FindAlias(ConfigReader&, const std::vector<std::string_view>&, IntRange);
template std::optional<double> FindAlias(ConfigReader&, const std::vector<std::string_view>&, IntRange);

int64_t DivideExactly(const ConfigReader& reader, std::string_view key, int64_t value, std::string_view divisor_key,
                      int64_t divisor) {
  if (value % divisor != 0) {
    reader.Fail(key, fmt::format("is {}, which '{}' ({}) does not divide", value, divisor_key, divisor));
  }
  return value / divisor;
}

int64_t CheckedWidth(const ConfigReader& reader, std::string_view key, int64_t a, int64_t b) {
  int64_t product = 0;
  if (__builtin_mul_overflow(a, b, &product) || product > kWidth.max) {
    reader.Fail(key, fmt::format("makes a projection {} x {} wide; the limit is {}", a, b, kWidth.max));
  }
  return product;
}

}  // namespace gannet
