// What the server needs of an engine: ids in, token events out. gannet::Engine is one, tests have another.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>

#include "engine/engine.h"
#include "engine/request.h"

namespace gannet {

// As gannet::Engine: every method is thread-safe and quick.
class TokenEngine {
 public:
  virtual ~TokenEngine() = default;
  virtual Result<RequestId> Submit(Request request, std::shared_ptr<TokenSink> sink) = 0;
  virtual void Cancel(RequestId id) = 0;
  virtual void Drain() = 0;
  virtual EngineStats stats() const = 0;
  virtual int64_t max_context() const = 0;  // tokens, prompt and output together
};

class EngineAdapter final : public TokenEngine {
 public:
  explicit EngineAdapter(Engine& engine) : engine_(engine) {}
  Result<RequestId> Submit(Request request, std::shared_ptr<TokenSink> sink) override {
    return engine_.Submit(std::move(request), std::move(sink));
  }
  void Cancel(RequestId id) override { engine_.Cancel(id); }
  void Drain() override { engine_.Drain(); }
  EngineStats stats() const override { return engine_.stats(); }
  int64_t max_context() const override { return engine_.max_context(); }

 private:
  Engine& engine_;
};

}  // namespace gannet
