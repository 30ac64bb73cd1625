#include "server/server.h"

#include <fmt/format.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <thread>

#include "base/log.h"
#include "base/mapped_file.h"
#include "server/connection.h"
#include "server/server_state.h"

namespace gannet {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using Clock = std::chrono::steady_clock;

std::vector<std::string> ReadApiKeys(const std::filesystem::path& path) {
  std::vector<std::string> keys;
  const std::string text = ReadTextFile(path, 1 << 20);
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    std::string key = text.substr(begin, end - begin);
    while (!key.empty() && (key.back() == '\r' || key.back() == ' ')) key.pop_back();
    if (!key.empty()) keys.push_back(std::move(key));
    begin = end + 1;
  }
  if (keys.empty()) throw LoadError("server", fmt::format("'{}' holds no API key; put one on a line.", path.string()));
  return keys;
}

tcp::acceptor Listen(asio::io_context& io, const std::string& host, uint16_t port) {
  boost::system::error_code error;
  const auto failed = [&] {
    return LoadError("server", fmt::format("cannot listen on {} port {}: {}.", host, port, error.message()));
  };
  tcp::resolver resolver(io);
  const auto found = resolver.resolve(host, std::to_string(port), tcp::resolver::passive, error);
  if (error || found.empty()) throw failed();
  const tcp::endpoint endpoint = *found.begin();
  tcp::acceptor acceptor(io);
  acceptor.open(endpoint.protocol(), error);
  if (!error) acceptor.set_option(tcp::acceptor::reuse_address(true), error);
  if (!error) acceptor.bind(endpoint, error);
  if (!error) acceptor.listen(asio::socket_base::max_listen_connections, error);
  if (error) throw failed();
  return acceptor;
}

}  // namespace

class Server::Impl {
 public:
  explicit Impl(const ServerOptions& options)
      : io_(options.io_threads),
        acceptor_(Listen(io_, options.host, options.port)),
        endpoint_(acceptor_.local_endpoint()),
        signals_(io_),
        work_(io_.get_executor()) {
    state_.options = options;
    if (!options.api_key_file.empty()) state_.api_keys = ReadApiKeys(options.api_key_file);
    asio::co_spawn(io_, Accept(), asio::detached);
    if (options.handle_signals) {
      signals_.add(SIGTERM);
      signals_.add(SIGINT);
      asio::co_spawn(io_, WatchSignals(), asio::detached);
    }
    for (int i = 0; i < std::max(1, options.io_threads); ++i) threads_.emplace_back([this] { io_.run(); });
  }

  ~Impl() {
    Stop();
    state_.text_worker.join();
  }

  tcp::endpoint endpoint() const { return endpoint_; }

  void SetReady(std::shared_ptr<const TextModel> text, TokenEngine& engine) {
    state_.model_name = state_.options.model_name.empty() ? text->name : state_.options.model_name;
    state_.created =
        std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
    state_.text = std::move(text);
    state_.engine = &engine;
    state_.ready = true;
  }

  void BeginDrain() {
    if (state_.draining.exchange(true)) return;
    asio::co_spawn(io_, Drain(), asio::detached);
  }

  bool Run() {
    std::unique_lock lock(drained_mutex_);
    drained_condition_.wait(lock, [this] { return drained_.has_value(); });
    return *drained_;
  }

 private:
  asio::awaitable<void> Accept() {
    asio::steady_timer pause(io_);
    for (;;) {
      boost::system::error_code error;
      tcp::socket socket =
          co_await acceptor_.async_accept(asio::make_strand(io_), asio::redirect_error(asio::use_awaitable, error));
      if (error == asio::error::operation_aborted || !acceptor_.is_open()) co_return;
      if (error) {  // out of file descriptors, most likely: some will come back
        pause.expires_after(std::chrono::milliseconds(50));
        co_await pause.async_wait(asio::redirect_error(asio::use_awaitable, error));
        continue;
      }
      auto connection = std::make_shared<Connection>(std::move(socket), state_);
      bool refused = false;
      {
        const std::lock_guard lock(state_.connections_mutex);
        refused = state_.connections.size() >= static_cast<size_t>(state_.options.max_connections);
        state_.connections.emplace(connection.get(), connection);
      }
      const asio::any_io_executor strand = connection->executor();
      asio::co_spawn(strand, connection->Run(refused), [connection](const std::exception_ptr& failure) {
        if (failure == nullptr) return;
        try {
          std::rethrow_exception(failure);
        } catch (const std::exception& exception) {
          Log().error("server: a connection ended by an internal error: {}", exception.what());
        }
      });
    }
  }

  asio::awaitable<void> WatchSignals() {
    for (;;) {
      boost::system::error_code error;
      co_await signals_.async_wait(asio::redirect_error(asio::use_awaitable, error));
      if (error) co_return;
      if (!state_.ready) std::_Exit(0);  // nothing was accepted, and loading cannot be interrupted
      if (state_.draining) {
        hurry_ = true;
      } else {
        Log().info("stopping: {} requests are left to finish", state_.active_requests.load());
        BeginDrain();
      }
    }
  }

  // New connections are still taken, to be told 503.
  asio::awaitable<void> Drain() {
    const Clock::time_point deadline =
        Clock::now() + std::chrono::nanoseconds(static_cast<int64_t>(state_.options.drain_timeout_s * 1e9));
    asio::steady_timer pause(io_);
    boost::system::error_code ignored;
    if (state_.ready) state_.engine->Drain();
    for (const auto& connection : Connections()) connection->Interrupt();
    while (state_.active_requests > 0 && Clock::now() < deadline && !hurry_) {
      pause.expires_after(std::chrono::milliseconds(10));
      co_await pause.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
    }
    const bool finished = state_.active_requests == 0;
    acceptor_.close(ignored);
    for (int i = 0; i < 50 && !Connections().empty(); ++i) {
      if (!finished || i == 25) {
        for (const auto& connection : Connections()) connection->Abort();
      }
      pause.expires_after(std::chrono::milliseconds(10));
      co_await pause.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
    }
    {
      const std::lock_guard lock(drained_mutex_);
      drained_ = finished;
    }
    drained_condition_.notify_all();
  }

  std::vector<std::shared_ptr<Connection>> Connections() {
    std::vector<std::shared_ptr<Connection>> alive;
    const std::lock_guard lock(state_.connections_mutex);
    for (const auto& [key, weak] : state_.connections) {
      if (auto connection = weak.lock()) alive.push_back(std::move(connection));
    }
    return alive;
  }

  void Stop() {
    state_.gate->Close();
    work_.reset();
    io_.stop();
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }

  // Destroyed last to first: the executors' pending work goes before the state it refers to.
  ServerState state_;
  std::atomic<bool> hurry_{false};
  std::mutex drained_mutex_;
  std::condition_variable drained_condition_;
  std::optional<bool> drained_;
  asio::io_context io_;
  tcp::acceptor acceptor_;
  tcp::endpoint endpoint_;
  asio::signal_set signals_;
  asio::executor_work_guard<asio::io_context::executor_type> work_;
  std::vector<std::thread> threads_;
};

Server::Server(const ServerOptions& options) : impl_(std::make_unique<Impl>(options)) {}
Server::~Server() = default;

uint16_t Server::port() const { return impl_->endpoint().port(); }

std::string Server::address() const {
  const tcp::endpoint endpoint = impl_->endpoint();
  const std::string host = endpoint.address().to_string();
  return fmt::format("http://{}:{}", endpoint.address().is_v6() ? "[" + host + "]" : host, endpoint.port());
}

void Server::SetReady(std::shared_ptr<const TextModel> text, TokenEngine& engine) {
  impl_->SetReady(std::move(text), engine);
}
void Server::BeginDrain() { impl_->BeginDrain(); }
bool Server::Run() { return impl_->Run(); }

}  // namespace gannet
