// Which handler answers which path.
#pragma once

#include <boost/asio/awaitable.hpp>

#include "server/connection.h"

namespace gannet {

boost::asio::awaitable<void> Route(Connection& connection, HttpRequest request);

}  // namespace gannet
