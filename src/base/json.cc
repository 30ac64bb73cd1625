#include "base/json.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <unordered_map>

namespace gannet {
namespace {

// Builds a Json from nlohmann's SAX events, so that its DOM and its exceptions stay in this file.
class Builder : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit Builder(int max_depth) : max_depth_(max_depth) {}

  bool null() override { return Add(nullptr); }
  bool boolean(bool value) override { return Add(value); }
  bool number_integer(int64_t value) override { return Add(value); }
  bool number_unsigned(uint64_t value) override {
    return value <= static_cast<uint64_t>(INT64_MAX) ? Add(static_cast<int64_t>(value)) : Add(value);
  }
  bool number_float(double value, const std::string&) override { return Add(value); }
  bool string(std::string& value) override { return Add(std::move(value)); }
  bool binary(binary_t&) override { return false; }
  bool start_object(size_t) override { return Open(Json::Object{}); }
  bool key(std::string& value) override {
    keys_.back() = std::move(value);
    return true;
  }
  bool end_object() override { return Close(); }
  bool start_array(size_t) override { return Open(Json::Array{}); }
  bool end_array() override { return Close(); }
  bool parse_error(size_t position, const std::string&, const nlohmann::json::exception& e) override {
    position_ = position;
    reason_ = e.what();
    return false;
  }

  Json root;
  std::string reason_;
  size_t position_ = 0;

 private:
  bool Add(Json value) {
    if (open_.empty()) {
      root = std::move(value);
    } else if (open_.back().is_array()) {
      open_.back().as_array().push_back(std::move(value));
    } else {
      open_.back().as_object().push_back({std::move(keys_.back()), std::move(value)});
    }
    return true;
  }
  bool Open(Json value) {
    if (static_cast<int>(open_.size()) >= max_depth_) {
      reason_ = "more than " + std::to_string(max_depth_) + " nested arrays or objects";
      return false;
    }
    open_.push_back(std::move(value));
    keys_.emplace_back();
    return true;
  }
  bool Close() {
    Json done = std::move(open_.back());
    open_.pop_back();
    keys_.pop_back();
    if (done.is_object()) DropRepeatedKeys(done.as_object());
    return Add(std::move(done));
  }
  static void DropRepeatedKeys(Json::Object& members) {
    if (members.size() < 2) return;
    std::unordered_map<std::string_view, size_t> last;
    for (size_t i = 0; i < members.size(); ++i) last[members[i].key] = i;
    if (last.size() == members.size()) return;
    Json::Object kept;
    for (size_t i = 0; i < members.size(); ++i) {
      if (last[members[i].key] == i) kept.push_back(members[i]);
    }
    members = std::move(kept);
  }

  int max_depth_;
  std::vector<Json> open_;
  std::vector<std::string> keys_;
};

void AppendString(std::string_view text, std::string& out) {
  out += nlohmann::json(std::string(text)).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

void Write(const Json& value, int indent, int level, std::string& out) {
  const auto newline = [&](int at) {
    if (indent < 0) return;
    out += '\n';
    out.append(static_cast<size_t>(at * indent), ' ');
  };
  if (value.is_null()) {
    out += "null";
  } else if (value.is_bool()) {
    out += value.as_bool() ? "true" : "false";
  } else if (value.is_integer()) {
    const std::optional<int64_t> number = value.as_int();
    out += number ? std::to_string(*number) : std::to_string(*value.as_uint());
  } else if (value.is_number()) {
    out += std::isfinite(value.as_double()) ? nlohmann::json(value.as_double()).dump() : "null";
  } else if (value.is_string()) {
    AppendString(value.as_string(), out);
  } else if (value.is_array()) {
    out += '[';
    bool first = true;
    for (const Json& item : value.as_array()) {
      if (!first) out += ',';
      first = false;
      newline(level + 1);
      Write(item, indent, level + 1, out);
    }
    if (!first) newline(level);
    out += ']';
  } else {
    out += '{';
    bool first = true;
    for (const Json::Member& member : value.as_object()) {
      if (!first) out += ',';
      first = false;
      newline(level + 1);
      AppendString(member.key, out);
      out += indent < 0 ? ":" : ": ";
      Write(member.value, indent, level + 1, out);
    }
    if (!first) newline(level);
    out += '}';
  }
}

}  // namespace

Result<Json> Json::Parse(std::string_view text, int max_depth) {
  Builder builder(max_depth);
  if (nlohmann::json::sax_parse(text.begin(), text.end(), &builder)) return std::move(builder.root);
  if (builder.position_ == 0) return Error{"invalid JSON: " + builder.reason_};
  const std::string_view before = text.substr(0, std::min(builder.position_ - 1, text.size()));
  const size_t line = static_cast<size_t>(std::count(before.begin(), before.end(), '\n')) + 1;
  const size_t start = before.rfind('\n');
  const size_t column = start == std::string_view::npos ? before.size() + 1 : before.size() - start;
  return Error{"invalid JSON at line " + std::to_string(line) + ", column " + std::to_string(column)};
}

std::string Json::Dump(int indent) const {
  std::string out;
  Write(*this, indent, 0, out);
  return out;
}

std::string_view Json::type_name() const {
  static constexpr std::string_view kNames[] = {"null",   "boolean", "integer", "integer",
                                                "number", "string",  "array",   "object"};
  return kNames[value_.index()];
}

std::optional<int64_t> Json::as_int() const {
  if (const int64_t* number = std::get_if<int64_t>(&value_)) return *number;
  if (const double* number = std::get_if<double>(&value_)) {
    if (std::trunc(*number) == *number && std::abs(*number) < 0x1p53) return static_cast<int64_t>(*number);
  }
  return std::nullopt;
}

std::optional<uint64_t> Json::as_uint() const {
  if (const uint64_t* number = std::get_if<uint64_t>(&value_)) return *number;
  const std::optional<int64_t> number = as_int();
  if (number && *number >= 0) return static_cast<uint64_t>(*number);
  return std::nullopt;
}

double Json::as_double() const {
  if (const int64_t* number = std::get_if<int64_t>(&value_)) return static_cast<double>(*number);
  if (const uint64_t* number = std::get_if<uint64_t>(&value_)) return static_cast<double>(*number);
  return std::get<double>(value_);
}

const Json* Json::Find(std::string_view key) const {
  const Object* members = std::get_if<Object>(&value_);
  if (!members) return nullptr;
  for (const Member& member : *members) {
    if (member.key == key) return &member.value;
  }
  return nullptr;
}

Json& Json::Set(std::string_view key, Json value) {
  if (is_null()) value_ = Object{};
  Object& members = as_object();
  for (Member& member : members) {
    if (member.key == key) return member.value = std::move(value);
  }
  members.push_back({std::string(key), std::move(value)});
  return members.back().value;
}

void Json::Append(Json value) {
  if (is_null()) value_ = Array{};
  as_array().push_back(std::move(value));
}

bool Json::operator==(const Json& other) const {
  if (is_number() && other.is_number()) return as_double() == other.as_double();
  return value_ == other.value_;
}

}  // namespace gannet
