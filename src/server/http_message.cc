#include "server/http_message.h"

#include <fmt/format.h>

namespace gannet {
namespace {

std::string_view ReasonOf(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 204:
      return "No Content";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 408:
      return "Request Timeout";
    case 413:
      return "Content Too Large";
    case 417:
      return "Expectation Failed";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 500:
      return "Internal Server Error";
    case 503:
      return "Service Unavailable";
    default:
      return "";
  }
}

std::string_view TypeOf(int status) {
  if (status == 401) return "authentication_error";
  if (status == 429) return "rate_limit_error";
  return status >= 500 ? "server_error" : "invalid_request_error";
}

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

std::string Serialize(const HttpResponse& response, const HttpRequest& request, bool keep_alive) {
  std::string text = fmt::format("HTTP/1.1 {} {}\r\n", response.status, ReasonOf(response.status));
  for (const auto& [name, value] : response.headers) text += fmt::format("{}: {}\r\n", name, value);
  if (response.status != 204) {
    text += fmt::format("Content-Type: {}\r\nContent-Length: {}\r\n", response.content_type, response.body.size());
  }
  text += keep_alive ? "Connection: keep-alive\r\n\r\n" : "Connection: close\r\n\r\n";
  if (request.method != "HEAD" && response.status != 204) text += response.body;
  return text;
}

std::string SerializeStreamHead(const HttpRequest& request, bool keep_alive) {
  return fmt::format(
      "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nCache-Control: no-cache\r\n"
      "X-Accel-Buffering: no\r\n{}Connection: {}\r\n\r\n",
      request.http11 ? "Transfer-Encoding: chunked\r\n" : "", keep_alive ? "keep-alive" : "close");
}

std::string Chunk(std::string_view data) { return fmt::format("{:x}\r\n{}\r\n", data.size(), data); }

std::string PercentDecode(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const int high = text[i] == '%' && i + 2 < text.size() ? HexDigit(text[i + 1]) : -1;
    const int low = high >= 0 ? HexDigit(text[i + 2]) : -1;
    if (low >= 0) {
      out += static_cast<char>(high * 16 + low);
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

ApiError ToApiError(const Error& error) {
  switch (error.kind) {
    case ErrorKind::kInvalid:
      return {400, error.message, error.param};
    case ErrorKind::kNotFound:
      return {404, error.message, error.param, "model_not_found"};
    case ErrorKind::kTooLarge:
      return {400, error.message, error.param, "context_length_exceeded"};
    case ErrorKind::kBusy:
      return {429, error.message, error.param, "queue_full"};
    case ErrorKind::kUnavailable:
      return {503, error.message, error.param, "unavailable"};
    case ErrorKind::kInternal:
      break;
  }
  return {500, error.message, error.param, "internal_error"};
}

Json ErrorBody(const ApiError& error) {
  Json detail;
  detail.Set("message", error.message);
  detail.Set("type", TypeOf(error.status));
  detail.Set("param", error.param.empty() ? Json() : Json(error.param));
  detail.Set("code", error.code.empty() ? Json() : Json(error.code));
  Json body;
  body.Set("error", std::move(detail));
  return body;
}

HttpResponse ErrorResponse(const ApiError& error) {
  HttpResponse response{error.status, ErrorBody(error).Dump()};
  if (error.status == 429) response.headers.emplace_back("Retry-After", "1");
  if (error.status == 503) response.headers.emplace_back("Retry-After", "5");
  if (error.status == 401) response.headers.emplace_back("WWW-Authenticate", "Bearer");
  return response;
}

}  // namespace gannet
