// What the connections of one server share.
#pragma once

#include <atomic>
#include <boost/asio/thread_pool.hpp>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "server/generation.h"
#include "server/server.h"

namespace gannet {

class Connection;

struct ServerState {
  ServerOptions options;
  std::vector<std::string> api_keys;
  std::atomic<bool> draining{false};
  std::atomic<bool> ready{false};
  // Set before `ready`, never changed again; not to be read before.
  std::shared_ptr<const TextModel> text;
  TokenEngine* engine = nullptr;
  std::string model_name;
  int64_t created = 0;  // Unix seconds
  std::shared_ptr<Gate> gate = std::make_shared<Gate>();
  boost::asio::thread_pool text_worker{1};  // reads and tokenizes large bodies, so that streams do not wait
  std::atomic<int> active_requests{0};      // head read, response not yet written
  std::atomic<size_t> body_bytes{0};        // of requests being read or handled

  std::mutex connections_mutex;
  std::unordered_map<Connection*, std::weak_ptr<Connection>> connections;
};

}  // namespace gannet
