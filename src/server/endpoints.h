// The handlers, one file each. Those that generate answer on the connection, in as many pieces as it takes; the others
// return their answer.
#pragma once

#include <boost/asio/awaitable.hpp>

#include "server/connection.h"
#include "server/job.h"

namespace gannet {

// GET /health: 200 {"status": "ok", ...} when ready, 503 with "loading" or "draining" otherwise.
HttpResponse Health(const ServerState& state);
// GET /v1/models
HttpResponse ListModels(const ServerState& state);
// GET /v1/models/{id}
HttpResponse ShowModel(const ServerState& state, const std::string& id);

using JobParser = Result<Job> (*)(std::string_view body, const TextModel& text, const JobLimits& limits);
// POST /v1/completions and /v1/chat/completions. Cancels its work when the client goes away.
boost::asio::awaitable<void> Generate(Connection& connection, HttpRequest request, JobParser parse);

}  // namespace gannet
