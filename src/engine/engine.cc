#include "engine/engine.h"

#include <fmt/format.h>

#include <algorithm>
#include <span>
#include <string_view>
#include <thread>
#include <vector>

#include "base/log.h"
#include "comm/communicator.h"
#include "engine/batch_builder.h"
#include "engine/mailbox.h"
#include "engine/memory_plan.h"
#include "engine/model.h"
#include "engine/sampler.h"
#include "engine/scheduler.h"

namespace gannet {

std::string_view NameOf(FinishReason reason) {
  switch (reason) {
    case FinishReason::kNone:
      return "none";
    case FinishReason::kStop:
      return "stop";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kCancelled:
      return "cancelled";
    case FinishReason::kError:
      return "error";
  }
  return "";
}

class Engine::Impl {
 public:
  Impl(Model& model, const EngineOptions& options)
      : model_(model),
        cache_options_(PlanCache(model, options)),
        cache_(model.kv_plan(), cache_options_),
        scheduler_(cache_, {std::min<int64_t>(options.max_batch_rows, model.max_step_rows()), options.max_running}),
        builder_(model.kv_plan()),
        mailbox_(options.max_running + options.max_waiting),
        tell_failed_(options.failed) {
    span_limit_ = std::min<int64_t>(options.max_batch_rows, model.max_step_rows());
    max_context_ =
        std::min(options.max_context > 0 ? options.max_context : model.spec().max_positions, cache_.capacity_tokens());
    Log().info("cache: {} tokens, at most {:.2f} GB; a request holds at most {}", cache_.capacity_tokens(),
               static_cast<double>(CacheBytes(model.kv_plan(), cache_options_)) / 1e9, max_context_);
    PublishStats();
    thread_ = std::thread([this] { Loop(); });
  }

  ~Impl() {
    mailbox_.Stop();
    thread_.join();
  }

  Result<RequestId> Submit(Request request, std::shared_ptr<TokenSink> sink);
  Mailbox& mailbox() { return mailbox_; }
  int64_t max_context() const { return max_context_; }

 private:
  void Loop();
  void Receive(Mailbox::Mail mail);
  void Step();
  void EndAllWithFailure();
  void Deliver(Task& task, std::span<const float> logits, const SampledToken& sampled);
  void Send(Task& task, TokenEvent event, FinishReason reason);
  void PublishStats();

  Model& model_;
  const KvCacheOptions cache_options_;
  KvCache cache_;
  Scheduler scheduler_;
  BatchBuilder builder_;
  Mailbox mailbox_;
  EngineStats stats_;
  int64_t max_context_ = 0;
  int64_t span_limit_ = 0;
  std::vector<SampledToken> sampled_;
  std::function<void(const std::string&)> tell_failed_;
  std::string failure_;  // why the model computes nothing any more
  std::thread thread_;
};

namespace {

Status CheckRange(double value, double low, double high, const char* name) {
  if (value >= low && value <= high) return Ok();
  return Error{fmt::format("{} is {}, but must be between {} and {}", name, value, low, high), ErrorKind::kInvalid,
               name};
}

Status CheckSampling(const SamplingParams& p, int64_t vocab) {
  constexpr double kHuge = 1e6;
  GANNET_TRY([[maybe_unused]] auto temperature, CheckRange(p.temperature, 0, kHuge, "temperature"));
  GANNET_TRY([[maybe_unused]] auto top_k, CheckRange(p.top_k, 0, 1e9, "top_k"));
  GANNET_TRY([[maybe_unused]] auto top_p, CheckRange(p.top_p, 0, 1, "top_p"));
  GANNET_TRY([[maybe_unused]] auto min_p, CheckRange(p.min_p, 0, 1, "min_p"));
  GANNET_TRY([[maybe_unused]] auto repetition, CheckRange(p.repetition_penalty, 1e-3, 1e3, "repetition_penalty"));
  GANNET_TRY([[maybe_unused]] auto frequency, CheckRange(p.frequency_penalty, -kHuge, kHuge, "frequency_penalty"));
  GANNET_TRY([[maybe_unused]] auto presence, CheckRange(p.presence_penalty, -kHuge, kHuge, "presence_penalty"));
  GANNET_TRY([[maybe_unused]] auto max_tokens, CheckRange(p.max_tokens, 1, 1e9, "max_tokens"));
  GANNET_TRY([[maybe_unused]] auto min_tokens, CheckRange(p.min_tokens, 0, p.max_tokens, "min_tokens"));
  for (const auto& [token, bias] : p.logit_bias) {
    if (token < 0 || token >= vocab) {
      return Error{fmt::format("logit_bias names token {}, but the vocabulary has {} tokens", token, vocab),
                   ErrorKind::kInvalid, "logit_bias"};
    }
    GANNET_TRY([[maybe_unused]] auto checked, CheckRange(bias, -1e9, 1e9, "logit_bias"));
  }
  return Ok();
}

// `most`: tokens of a span that a step has room for.
Status CheckSpans(const Request& request, int64_t most) {
  const char* const field = "bidirectional_spans";
  int64_t behind = 0;
  for (const TokenSpan& span : request.bidirectional_spans) {
    const std::string words = fmt::format("the bidirectional span [{}, {}]", span.begin, span.end);
    if (span.begin < 0 || span.end <= span.begin || span.end > std::ssize(request.prompt)) {
      return Error{fmt::format("{} is not a part of the prompt's {} tokens: it must be [first, one past the last]",
                               words, request.prompt.size()),
                   ErrorKind::kInvalid, field};
    }
    if (span.begin < behind) {
      return Error{words + " overlaps the one before it, or comes before it", ErrorKind::kInvalid, field};
    }
    if (span.end - span.begin > most) {
      return Error{fmt::format("{} has {} tokens, but all of a span is computed in one step, where {} have room", words,
                               span.end - span.begin, most),
                   ErrorKind::kTooLarge, field};
    }
    behind = span.end;
  }
  return Ok();
}

bool NeedsHistory(const SamplingParams& p) {
  return p.repetition_penalty != 1 || p.frequency_penalty != 0 || p.presence_penalty != 0;
}

}  // namespace

Result<RequestId> Engine::Impl::Submit(Request request, std::shared_ptr<TokenSink> sink) {
  const int64_t vocab = model_.spec().vocab;
  if (request.prompt.empty()) return Error{"the prompt is empty", ErrorKind::kInvalid, "prompt"};
  for (const TokenId token : request.prompt) {
    if (token < 0 || token >= vocab) {
      return Error{fmt::format("the prompt holds token {}, but the vocabulary has {} tokens", token, vocab),
                   ErrorKind::kInvalid, "prompt"};
    }
  }
  GANNET_TRY([[maybe_unused]] auto checked, CheckSampling(request.sampling, vocab));
  const int64_t prompt = static_cast<int64_t>(request.prompt.size());
  if (prompt + request.sampling.max_tokens > max_context_) {
    return Error{fmt::format("{} prompt tokens and {} to generate are more than the context of {} tokens", prompt,
                             request.sampling.max_tokens, max_context_),
                 ErrorKind::kTooLarge, "max_tokens"};
  }
  GANNET_TRY([[maybe_unused]] auto spans, CheckSpans(request, span_limit_));
  std::erase_if(request.sampling.stop_ids, [&](TokenId token) { return token < 0 || token >= vocab; });
  return mailbox_.Submit(std::move(request), std::move(sink));
}

void Engine::Impl::Loop() {
  model_.pool().BindCaller();
  while (true) {
    const bool idle = scheduler_.running() == 0 && scheduler_.waiting() == 0;
    const bool wait = idle && !model_.LayOutNext();  // a matrix at a time, so that mail does not wait long
    Mailbox::Mail mail = mailbox_.Take(wait);
    const bool stop = mail.stop;
    Receive(std::move(mail));
    if (stop) {
      for (const RequestId id : scheduler_.Ids()) {
        Send(*scheduler_.Remove(id), {}, FinishReason::kCancelled);
      }
      PublishStats();
      return;
    }
    if (scheduler_.running() + scheduler_.waiting() > 0) {
      try {
        if (failure_.empty()) Step();
      } catch (const CommError& error) {
        failure_ = error.what();
        mailbox_.Drain();
        EndAllWithFailure();
        if (tell_failed_) tell_failed_(failure_);
      }
      if (!failure_.empty()) EndAllWithFailure();
    }
    PublishStats();
  }
}

void Engine::Impl::EndAllWithFailure() {
  TokenEvent event;
  event.error = failure_;
  for (const RequestId id : scheduler_.Ids()) Send(*scheduler_.Remove(id), event, FinishReason::kError);
}

void Engine::Impl::Receive(Mailbox::Mail mail) {
  for (Submission& submission : mail.submissions) {
    auto task = std::make_unique<Task>();
    task->id = submission.id;
    task->sink = std::move(submission.sink);
    task->tokens = submission.request.prompt;
    task->request = std::move(submission.request);
    task->mask = AttentionMask::Bidirectional(task->request.bidirectional_spans);
    if (NeedsHistory(task->request.sampling)) task->history.AddPrompt(task->request.prompt);
    scheduler_.Add(std::move(task));
  }
  for (const RequestId id : mail.cancellations) {
    if (const std::unique_ptr<Task> task = scheduler_.Remove(id)) Send(*task, {}, FinishReason::kCancelled);
  }
}

// Schedule, forward, sample, deliver.
void Engine::Impl::Step() {
  const std::vector<ScheduledRows> step = scheduler_.Schedule();
  if (step.empty()) {  // unreachable while Submit refuses what the cache can't hold; even so, nothing may hang
    TokenEvent event;
    event.error = "the cache cannot hold this request";
    Send(*scheduler_.Remove(scheduler_.Ids().front()), event, FinishReason::kError);
    return;
  }
  builder_.Clear();
  for (const ScheduledRows& rows : step) {
    const std::span<const TokenId> tokens(rows.task->tokens.data() + rows.first, static_cast<size_t>(rows.count));
    builder_.Add(*rows.task->sequence, rows.first, tokens, rows.task->prompt_tokens(),
                 rows.sample ? WantLogits::kLast : WantLogits::kNone, rows.task->mask);
  }
  const std::span<const float> logits = model_.Forward(builder_.batch(), cache_);

  std::vector<Task*> sampling;
  for (const ScheduledRows& rows : step) {
    rows.task->computed += rows.count;
    cache_.Commit(*rows.task->sequence, rows.task->computed);
    if (rows.sample) sampling.push_back(rows.task);
  }
  const size_t vocab = static_cast<size_t>(model_.spec().vocab);
  sampled_.assign(sampling.size(), {});
  model_.pool().ParallelFor(static_cast<int64_t>(sampling.size()), [&](int64_t i, int) {
    const Task& task = *sampling[static_cast<size_t>(i)];
    sampled_[static_cast<size_t>(i)] =
        Sample(logits.subspan(static_cast<size_t>(i) * vocab, vocab), task.request.sampling, task.history,
               task.generated(), static_cast<int64_t>(task.tokens.size()));
  });
  for (size_t i = 0; i < sampling.size(); ++i) {
    Deliver(*sampling[i], logits.subspan(i * vocab, vocab), sampled_[i]);
  }
  ++stats_.steps;
}

void Engine::Impl::Deliver(Task& task, std::span<const float> logits, const SampledToken& sampled) {
  const SamplingParams& params = task.request.sampling;
  TokenEvent event;
  if (!sampled.ok) {
    event.error = "the model's output is not a number: the weights or the kernels are broken";
    Send(*scheduler_.Remove(task.id), event, FinishReason::kError);
    return;
  }
  if (task.generated() == 0) {
    stats_.prompt_tokens += task.prompt_tokens();
    stats_.cached_tokens += task.cached_tokens;
  }
  ++stats_.generated_tokens;
  task.tokens.push_back(sampled.token);
  if (NeedsHistory(params)) task.history.AddGenerated(sampled.token);
  event.has_token = true;
  event.token = sampled.token;
  event.logprob = sampled.logprob;
  event.top_logprobs = sampled.top_logprobs;
  event.logits = logits;
  const bool stops = std::ranges::find(params.stop_ids, sampled.token) != params.stop_ids.end();
  if (stops) {
    Send(*scheduler_.Remove(task.id), event, FinishReason::kStop);
  } else if (task.generated() >= params.max_tokens) {
    Send(*scheduler_.Remove(task.id), event, FinishReason::kLength);
  } else {
    Send(task, event, FinishReason::kNone);
  }
}

void Engine::Impl::Send(Task& task, TokenEvent event, FinishReason reason) {
  event.request = task.id;
  event.finish = reason;
  event.prompt_tokens = static_cast<int>(task.prompt_tokens());
  event.cached_tokens = task.cached_tokens;
  event.generated_tokens = task.generated();
  task.sink->OnToken(event);
}

void Engine::Impl::PublishStats() {
  stats_.running = scheduler_.running();
  stats_.waiting = scheduler_.waiting();
  stats_.blocks_total = cache_.blocks_total();
  stats_.blocks_free = cache_.blocks_free();
  stats_.preemptions = scheduler_.preemptions();
  mailbox_.Publish(stats_);
}

Engine::Engine(Model& model, const EngineOptions& options) : impl_(std::make_unique<Impl>(model, options)) {}
Engine::~Engine() = default;
Result<RequestId> Engine::Submit(Request request, std::shared_ptr<TokenSink> sink) {
  return impl_->Submit(std::move(request), std::move(sink));
}
void Engine::Cancel(RequestId id) { impl_->mailbox().Cancel(id); }
void Engine::Drain() { impl_->mailbox().Drain(); }
void Engine::WaitIdle() { impl_->mailbox().WaitIdle(); }
EngineStats Engine::stats() const { return impl_->mailbox().stats(); }
int64_t Engine::max_context() const { return impl_->max_context(); }

}  // namespace gannet
