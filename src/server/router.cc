#include "server/router.h"

#include <fmt/format.h>

#include <algorithm>

#include "server/endpoints.h"

namespace gannet {
namespace {

constexpr std::string_view kModelPrefix = "/v1/models/";
constexpr std::string_view kBearer = "Bearer ";

// In time that depends on the lengths alone.
bool SameKey(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  unsigned difference = 0;
  for (size_t i = 0; i < a.size(); ++i) difference |= static_cast<unsigned char>(a[i] ^ b[i]);
  return difference == 0;
}

bool Authorized(const ServerState& state, std::string_view authorization) {
  if (state.api_keys.empty()) return true;
  if (!authorization.starts_with(kBearer)) return false;
  bool known = false;
  for (const std::string& key : state.api_keys) known |= SameKey(key, authorization.substr(kBearer.size()));
  return known;
}

std::string_view AllowedMethods(std::string_view path) {
  if (path == "/v1/completions" || path == "/v1/chat/completions") return "POST, OPTIONS";
  if (path == "/health" || path == "/v1/models" || path.starts_with(kModelPrefix)) return "GET, HEAD, OPTIONS";
  return "";
}

bool Allows(std::string_view allowed, std::string_view method) {
  return allowed == method || allowed.starts_with(std::string(method) + ",") ||
         allowed.find(" " + std::string(method) + ",") != std::string_view::npos ||
         allowed.ends_with(" " + std::string(method));
}

std::optional<HttpResponse> EarlyAnswer(const ServerState& state, const HttpRequest& request) {
  const std::string_view allowed = AllowedMethods(request.path);
  const bool health = request.path == "/health";
  if (!health && !Authorized(state, request.authorization)) {
    return ErrorResponse(
        {401, "This server asks for an API key: send 'Authorization: Bearer KEY'.", {}, "invalid_api_key"});
  }
  if (allowed.empty()) {
    return ErrorResponse({404, fmt::format("There is nothing at '{}'.", request.path.substr(0, 200)), {}, "not_found"});
  }
  if (!Allows(allowed, request.method)) {
    HttpResponse response = ErrorResponse({405,
                                           fmt::format("'{}' does not answer {}, only {}.", request.path.substr(0, 200),
                                                       request.method.substr(0, 32), allowed),
                                           {},
                                           "method_not_allowed"});
    response.headers.emplace_back("Allow", allowed);
    return response;
  }
  if (request.method == "OPTIONS") return HttpResponse{204, "", {{"Allow", std::string(allowed)}}};
  if (health) return Health(state);
  if (!state.ready) {
    return ErrorResponse({503, "The model is still loading; try again in a moment.", {}, "loading"});
  }
  if (request.path == "/v1/models") return ListModels(state);
  if (request.path.starts_with(kModelPrefix)) return ShowModel(state, request.path.substr(kModelPrefix.size()));
  if (state.draining) {
    return ErrorResponse({503, "The server is shutting down and takes no new requests.", {}, "draining"});
  }
  return std::nullopt;
}

}  // namespace

boost::asio::awaitable<void> Route(Connection& connection, HttpRequest request) {
  if (std::optional<HttpResponse> answer = EarlyAnswer(connection.state(), request)) {
    connection.Respond(request, std::move(*answer));
    co_return;
  }
  const JobParser parse = request.path == "/v1/chat/completions" ? &ParseChat : &ParseCompletions;
  co_await Generate(connection, std::move(request), parse);
}

}  // namespace gannet
