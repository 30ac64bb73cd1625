// The common course of the endpoints that generate: parse, submit, tell, and cancel when nobody listens.
#include <fmt/format.h>

#include <boost/asio/post.hpp>
#include <optional>

#include "server/endpoints.h"

namespace gannet {
namespace {

namespace asio = boost::asio;
using Clock = Connection::Clock;

constexpr size_t kLargeBody = 16 << 10;  // bytes; parsed beside the streams and not between them

// The parsed body; empty when the client went away meanwhile.
asio::awaitable<std::shared_ptr<Result<Job>>> Parse(Connection& connection, std::string body, JobParser parse) {
  ServerState& state = connection.state();
  const JobLimits limits{state.model_name, state.engine->max_context(), state.options.max_choices};
  if (body.size() <= kLargeBody) co_return std::make_shared<Result<Job>>(parse(body, *state.text, limits));

  auto slot = std::make_shared<std::shared_ptr<Result<Job>>>();
  asio::post(state.text_worker, [slot, limits, parse, text = state.text, body = std::move(body),
                                 executor = connection.executor(), wake = connection.Waker()] {
    auto parsed = std::make_shared<Result<Job>>(parse(body, *text, limits));
    asio::post(executor, [slot, wake, parsed = std::move(parsed)] {
      *slot = parsed;
      wake();
    });
  });
  while (*slot == nullptr && !connection.gone()) co_await connection.Wait(Clock::time_point::max());
  co_return *slot;
}

asio::awaitable<void> SendStream(Connection& connection, const HttpRequest& request, Generation& generation) {
  const ServerOptions& options = connection.state().options;
  const auto heartbeat = std::chrono::nanoseconds(static_cast<int64_t>(options.heartbeat_s * 1e9));
  connection.BeginStream(request);
  Clock::time_point last_sent = Clock::now();
  while (!connection.gone()) {
    const std::string events = generation.TakeEvents();
    connection.SendStream(events);
    if (!events.empty()) last_sent = Clock::now();
    if (generation.done()) break;
    if (connection.unsent() > options.max_unsent_bytes) {
      generation.Cancel();
      connection.SendStream(ServerSentEvent(
          ErrorBody({503, "The stream was ended because its client did not read it fast enough.", {}, "slow_client"})
              .Dump()));
      break;
    }
    co_await connection.Wait(last_sent + heartbeat);
    if (Clock::now() >= last_sent + heartbeat) {
      if (connection.unsent() == 0) connection.SendStream(": working\n\n");
      last_sent = Clock::now();
    }
  }
  connection.EndStream();
}

}  // namespace

asio::awaitable<void> Generate(Connection& connection, HttpRequest request, JobParser parse) {
  ServerState& state = connection.state();
  std::string body = std::move(request.body);
  const std::shared_ptr<Result<Job>> parsed = co_await Parse(connection, std::move(body), parse);
  connection.ForgetBody();
  if (parsed == nullptr || connection.gone()) {
    connection.EndAfterThis();
    co_return;
  }
  if (!parsed->ok()) {
    connection.Respond(request, ErrorResponse(ToApiError(parsed->error())));
    co_return;
  }
  const bool stream = (*parsed)->stream;
  Result<std::shared_ptr<Generation>> started = Generation::Start(
      std::move(**parsed), state.text, *state.engine, state.gate, connection.executor(), connection.Waker());
  if (!started.ok()) {
    connection.Respond(request, ErrorResponse(ToApiError(started.error())));
    co_return;
  }
  Generation& generation = **started;
  if (stream) {
    co_await SendStream(connection, request, generation);
  } else {
    while (!generation.done() && !connection.gone()) co_await connection.Wait(Clock::time_point::max());
    if (generation.failure()) {
      connection.Respond(request, ErrorResponse(*generation.failure()));
    } else if (generation.done()) {
      connection.Respond(request, {200, generation.Whole().Dump()});
    }
  }
  if (!generation.done()) connection.EndAfterThis();
  generation.Cancel();
}

}  // namespace gannet
