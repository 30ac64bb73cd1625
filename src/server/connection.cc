#include "server/connection.h"

#include <boost/asio/buffer.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <utility>

#include "server/router.h"

namespace gannet {
namespace {

namespace asio = boost::asio;

constexpr size_t kMaxInputAhead = 64 << 10;  // bytes kept of a client that pipelines

std::chrono::nanoseconds Seconds(double seconds) {
  return std::chrono::nanoseconds(static_cast<int64_t>(seconds * 1e9));
}

}  // namespace

Connection::Connection(asio::ip::tcp::socket socket, ServerState& state)
    : socket_(std::move(socket)), state_(state), wake_(socket_.get_executor()) {
  boost::system::error_code ignored;
  socket_.set_option(asio::ip::tcp::no_delay(true), ignored);
}

Connection::~Connection() {
  ForgetBody();
  const std::lock_guard lock(state_.connections_mutex);
  state_.connections.erase(this);
}

asio::awaitable<void> Connection::Run(bool refused) {
  const std::shared_ptr<Connection> self = shared_from_this();
  if (refused) Refuse(503, "The server has as many connections as it may; try again.");
  while (keep_alive_) {
    HttpRequest request;
    if (!co_await ReadRequest(request)) break;
    ++state_.active_requests;
    struct Active {
      std::atomic<int>& count;
      ~Active() { --count; }
    } const active{state_.active_requests};
    watching_ = true;
    StartRead();
    co_await Handle(std::move(request));
    co_await Flush();
    watching_ = false;
    ForgetBody();
    fresh_ = false;
    if (write_failed_) break;
  }
  co_await Close();
}

std::function<void()> Connection::Waker() {
  return [weak = weak_from_this()] {
    if (const auto alive = weak.lock()) alive->Wake();
  };
}

void Connection::Interrupt() {
  asio::post(socket_.get_executor(), [self = shared_from_this()] { self->Wake(); });
}

void Connection::Abort() {
  asio::post(socket_.get_executor(), [self = shared_from_this()] {
    self->end_of_input_ = self->write_failed_ = true;
    boost::system::error_code ignored;
    self->socket_.close(ignored);
    self->Wake();
  });
}

void Connection::ForgetBody() { state_.body_bytes -= std::exchange(counted_body_, 0); }

void Connection::Wake() { wake_.cancel(); }

asio::awaitable<void> Connection::Wait(Clock::time_point deadline) {
  wake_.expires_at(deadline);
  boost::system::error_code ignored;
  co_await wake_.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
}

asio::awaitable<bool> Connection::MoreInput(Clock::time_point deadline) {
  const size_t before = input_.size();
  StartRead();
  while (input_.size() == before && !end_of_input_ && Clock::now() < deadline) co_await Wait(deadline);
  co_return input_.size() > before;
}

void Connection::StartRead() {
  if (reading_ || end_of_input_ || input_.size() >= kMaxInputAhead) return;
  reading_ = true;
  socket_.async_read_some(asio::buffer(chunk_),
                          [self = shared_from_this()](const boost::system::error_code& error, size_t bytes) {
                            self->reading_ = false;
                            self->input_.append(self->chunk_.data(), bytes);
                            if (error) self->end_of_input_ = true;
                            if (self->watching_) self->StartRead();
                            self->Wake();
                          });
}

void Connection::Send(std::string_view data) {
  if (write_failed_) return;
  if (unsent() == 0) last_progress_ = Clock::now();
  pending_ += data;
  if (!writing_) StartWrite();
}

void Connection::StartWrite() {
  if (sent_ == in_flight_.size()) {
    in_flight_.clear();
    sent_ = 0;
    std::swap(in_flight_, pending_);
  }
  if (in_flight_.empty()) return;
  writing_ = true;
  socket_.async_write_some(asio::buffer(in_flight_.data() + sent_, in_flight_.size() - sent_),
                           [self = shared_from_this()](const boost::system::error_code& error, size_t bytes) {
                             self->writing_ = false;
                             self->sent_ += bytes;
                             self->last_progress_ = Clock::now();
                             if (error) {
                               self->write_failed_ = true;
                             } else {
                               self->StartWrite();
                             }
                             self->Wake();
                           });
}

asio::awaitable<void> Connection::Flush() {
  while (unsent() > 0 && !write_failed_) {
    const Clock::time_point deadline = last_progress_ + Seconds(state_.options.write_timeout_s);
    if (Clock::now() >= deadline) {
      write_failed_ = true;
    } else {
      co_await Wait(deadline);
    }
  }
}

void Connection::Respond(const HttpRequest& request, HttpResponse response) {
  if (response.close || state_.draining) keep_alive_ = false;
  Send(Serialize(response, request, keep_alive_));
}

void Connection::Refuse(int status, std::string message) {
  keep_alive_ = false;
  ForgetBody();
  Respond({}, ErrorResponse({status, std::move(message)}));
}

void Connection::BeginStream(const HttpRequest& request) {
  stream_chunked_ = request.http11;
  if (!request.http11 || state_.draining) keep_alive_ = false;
  Send(SerializeStreamHead(request, keep_alive_));
}

void Connection::SendStream(std::string_view data) {
  if (data.empty()) return;  // an empty chunk would end the stream
  if (stream_chunked_) {
    Send(Chunk(data));
  } else {
    Send(data);
  }
}

void Connection::EndStream() {
  if (stream_chunked_) Send("0\r\n\r\n");
}

// The client may still be sending: closing at once would reset the connection and lose the answer on its way.
asio::awaitable<void> Connection::Close() {
  co_await Flush();
  boost::system::error_code ignored;
  if (!write_failed_) {
    socket_.shutdown(asio::ip::tcp::socket::shutdown_send, ignored);
    const Clock::time_point deadline = Clock::now() + std::chrono::seconds(2);
    do {
      input_.clear();
    } while (co_await MoreInput(deadline));
  }
  socket_.close(ignored);
}

}  // namespace gannet
