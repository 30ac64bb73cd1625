#include <fmt/format.h>

#include "server/endpoints.h"

namespace gannet {
namespace {

Json ModelJson(const ServerState& state) {
  Json model;
  model.Set("id", state.model_name);
  model.Set("object", "model");
  model.Set("created", state.created);
  model.Set("owned_by", "gannet");
  model.Set("max_model_len", state.engine->max_context());
  return model;
}

}  // namespace

HttpResponse ListModels(const ServerState& state) {
  Json list;
  list.Set("object", "list");
  list.Set("data", Json::Array{ModelJson(state)});
  return {200, list.Dump()};
}

HttpResponse ShowModel(const ServerState& state, const std::string& id) {
  if (id == state.model_name) return {200, ModelJson(state).Dump()};
  const Status missing = CheckModel(id, state.model_name);
  return ErrorResponse(
      ToApiError(missing.ok() ? Error{"Name a model.", ErrorKind::kNotFound, "model"} : missing.error()));
}

}  // namespace gannet
