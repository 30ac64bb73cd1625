// How a Connection reads a request: Beast parses, this file minds limits and clocks.
#include <fmt/format.h>

#include <boost/asio/buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <utility>

#include "server/connection.h"
#include "server/router.h"

namespace gannet {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;

constexpr uint32_t kMaxHeaderBytes = 32 << 10;

Connection::Clock::time_point In(double seconds) {
  return Connection::Clock::now() + std::chrono::nanoseconds(static_cast<int64_t>(seconds * 1e9));
}

}  // namespace

// False: the connection is over; an answer, if one is due, has been sent.
asio::awaitable<bool> Connection::ReadRequest(HttpRequest& request) {
  const ServerOptions& options = state_.options;
  http::request_parser<http::string_body> parser;
  parser.header_limit(kMaxHeaderBytes);
  parser.body_limit(options.max_body_bytes);

  const Clock::time_point idle_deadline = In(fresh_ ? options.header_timeout_s : options.idle_timeout_s);
  while (input_.empty()) {
    if (end_of_input_ || Clock::now() >= idle_deadline) co_return false;
    if (!fresh_ && state_.draining) co_return false;
    StartRead();
    co_await Wait(idle_deadline);
  }

  Clock::time_point deadline = In(options.header_timeout_s);
  bool answered_continue = false;
  while (!parser.is_done()) {
    boost::system::error_code error;
    const size_t used = parser.put(asio::buffer(input_), error);
    input_.erase(0, used);
    if (parser.is_header_done()) {
      const size_t body = parser.get().body().size();
      state_.body_bytes += body - counted_body_;
      counted_body_ = body;
      if (state_.body_bytes > options.max_total_body_bytes) {
        Refuse(503, "The server is reading too many large requests at this moment; try again.");
        co_return false;
      }
    }
    if (error == http::error::body_limit) {
      Refuse(413, fmt::format("The body is larger than the {} bytes this server accepts.", options.max_body_bytes));
      co_return false;
    }
    if (error == http::error::header_limit || (!parser.is_header_done() && input_.size() > kMaxHeaderBytes)) {
      Refuse(431, fmt::format("The request's header is larger than {} bytes.", kMaxHeaderBytes));
      co_return false;
    }
    if (error && error != http::error::need_more) {
      Refuse(400, fmt::format("This is no valid HTTP request: {}.", error.message()));
      co_return false;
    }
    if (parser.is_done()) break;
    if (parser.is_header_done() && !answered_continue) {
      answered_continue = true;
      parser.eager(true);
      deadline = In(options.body_timeout_s);
      const auto expect = parser.get()[http::field::expect];
      if (boost::beast::iequals(expect, "100-continue")) {
        Send("HTTP/1.1 100 Continue\r\n\r\n");
      } else if (!expect.empty()) {
        Refuse(417, "The only expectation this server knows is 100-continue.");
        co_return false;
      }
      if (!input_.empty()) continue;
    }
    if (!co_await MoreInput(deadline)) {
      if (!end_of_input_) {
        Refuse(408, parser.is_header_done() ? "The request's body did not arrive in time."
                                            : "The request's header did not arrive in time.");
      }
      co_return false;
    }
  }

  auto message = parser.release();
  request.method = std::string(message.method_string());
  std::string_view target(message.target().data(), message.target().size());
  request.path = PercentDecode(target.substr(0, target.find('?')));
  request.authorization = std::string(message[http::field::authorization]);
  request.http11 = message.version() >= 11;
  request.keep_alive = message.keep_alive();
  request.body = std::move(message.body());
  keep_alive_ = request.keep_alive;
  co_return true;
}

asio::awaitable<void> Connection::Handle(HttpRequest request) { co_await Route(*this, std::move(request)); }

}  // namespace gannet
