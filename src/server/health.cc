#include "server/endpoints.h"

namespace gannet {

HttpResponse Health(const ServerState& state) {
  Json json;
  HttpResponse response;
  const bool ready = state.ready;
  const bool draining = state.draining;
  json.Set("status", draining ? "draining" : ready ? "ok" : "loading");
  if (draining || !ready) response.status = 503;
  if (ready) {
    const EngineStats stats = state.engine->stats();
    json.Set("running", stats.running);
    json.Set("waiting", stats.waiting);
    json.Set("blocks_total", stats.blocks_total);
    json.Set("blocks_free", stats.blocks_free);
  }
  response.body = json.Dump();
  return response;
}

}  // namespace gannet
