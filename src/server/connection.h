// One client: reads requests, one after the other, and writes what the handlers say.
#pragma once

#include <array>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "server/http_message.h"
#include "server/server_state.h"

namespace gannet {

// Everything but Interrupt and Abort runs on the socket's strand. One read and one write are under way at most; each
// end of one, and every Wake, lets the coroutine look again at what it waits for.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  using Clock = std::chrono::steady_clock;

  Connection(boost::asio::ip::tcp::socket socket, ServerState& state);
  ~Connection();

  // `refused`: answers 503 and ends.
  boost::asio::awaitable<void> Run(bool refused);
  // Thread-safe: look at the server's phase again; close if idle.
  void Interrupt();
  // Thread-safe: close now.
  void Abort();

  // For handlers.
  ServerState& state() { return state_; }
  boost::asio::any_io_executor executor() { return socket_.get_executor(); }
  std::function<void()> Waker();  // wakes this connection as long as it exists; call on its strand
  // True when the client has closed its side or cannot be written to: nobody waits for an answer any more.
  bool gone() const { return end_of_input_ || write_failed_; }
  boost::asio::awaitable<void> Wait(Clock::time_point deadline);  // until a Wake or the deadline
  void Respond(const HttpRequest& request, HttpResponse response);
  void BeginStream(const HttpRequest& request);
  void SendStream(std::string_view data);
  void EndStream();
  void ForgetBody();  // the request's body is no longer held
  void EndAfterThis() { keep_alive_ = false; }
  size_t unsent() const { return in_flight_.size() - sent_ + pending_.size(); }  // bytes

 private:
  boost::asio::awaitable<bool> ReadRequest(HttpRequest& request);
  boost::asio::awaitable<bool> MoreInput(Clock::time_point deadline);
  boost::asio::awaitable<void> Handle(HttpRequest request);
  boost::asio::awaitable<void> Flush();
  boost::asio::awaitable<void> Close();
  void Refuse(int status, std::string message);
  void StartRead();
  void StartWrite();
  void Send(std::string_view data);
  void Wake();

  boost::asio::ip::tcp::socket socket_;
  ServerState& state_;
  boost::asio::steady_timer wake_;
  std::array<char, 16384> chunk_;
  std::string input_;  // read and not parsed yet: what a pipelining client sent ahead
  std::string in_flight_;
  std::string pending_;
  size_t sent_ = 0;          // of in_flight_
  size_t counted_body_ = 0;  // this connection's share of state_.body_bytes
  Clock::time_point last_progress_{};
  bool reading_ = false;
  bool writing_ = false;
  bool watching_ = false;  // keep reading while a request is handled, to notice that the client goes away
  bool end_of_input_ = false;
  bool write_failed_ = false;
  bool keep_alive_ = true;
  bool fresh_ = true;  // no request was answered yet
  bool stream_chunked_ = false;
};

}  // namespace gannet
