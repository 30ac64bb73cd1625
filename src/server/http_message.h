// A request read and a response to be written, without sockets; and errors in OpenAI's shape.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace gannet {

struct HttpRequest {
  std::string method;  // "GET", "POST", ...
  std::string path;    // percent-decoded, without the query
  std::string authorization;
  std::string body;
  bool http11 = true;  // false: HTTP/1.0, which knows no chunked body
  bool keep_alive = true;
};

struct HttpResponse {
  int status = 200;
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers = {};
  std::string content_type = "application/json";
  bool close = false;  // the connection ends after this response
};

// Status line, headers and body as they go on the wire. `head`: the answer to HEAD, headers alone.
std::string Serialize(const HttpResponse& response, const HttpRequest& request, bool keep_alive);
// The head of a stream of server-sent events: chunked in HTTP/1.1, ended by the connection's end in HTTP/1.0.
std::string SerializeStreamHead(const HttpRequest& request, bool keep_alive);
// `data` as one chunk (RFC 9112, 7.1).
std::string Chunk(std::string_view data);

// "%2F" -> "/"; a malformed escape stays as it is.
std::string PercentDecode(std::string_view text);

struct ApiError {
  int status = 400;
  std::string message;
  std::string param = {};
  std::string code = {};
};
// kTooLarge means a prompt that does not fit the context (400 context_length_exceeded): a body that is too large never
// becomes an Error.
ApiError ToApiError(const Error& error);
// {"error": {"message", "type", "param", "code"}}
Json ErrorBody(const ApiError& error);
HttpResponse ErrorResponse(const ApiError& error);

}  // namespace gannet
