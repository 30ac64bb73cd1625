#include "server/generation.h"

#include <boost/asio/post.hpp>
#include <iterator>
#include <utility>

namespace gannet {
namespace {

int64_t CodePoints(std::string_view bytes) {
  int64_t count = 0;
  for (const char c : bytes) count += (static_cast<unsigned char>(c) & 0xc0) != 0x80;
  return count;
}

}  // namespace

std::string ServerSentEvent(std::string_view data) {
  std::string event = "data: ";
  event += data;
  event += "\n\n";
  return event;
}

void Gate::IfOpen(FunctionRef<void()> task) {
  const std::lock_guard lock(mutex_);
  if (open_) task();
}

void Gate::Close() {
  const std::lock_guard lock(mutex_);
  open_ = false;
}

class Generation::Sink final : public TokenSink {
 public:
  Sink(std::weak_ptr<Generation> generation, int index, std::shared_ptr<Gate> gate)
      : generation_(std::move(generation)), index_(index), gate_(std::move(gate)) {}
  void OnToken(const TokenEvent& event) override {
    gate_->IfOpen([&] {
      const std::shared_ptr<Generation> alive = generation_.lock();
      if (alive == nullptr) return;
      boost::asio::post(alive->executor_, [generation = generation_, index = index_, event] {
        if (const auto still_alive = generation.lock()) still_alive->OnEvent(index, event);
      });
    });
  }

 private:
  std::weak_ptr<Generation> generation_;
  int index_;
  std::shared_ptr<Gate> gate_;
};

Generation::Generation(Job job, std::shared_ptr<const TextModel> text, TokenEngine& engine,
                       boost::asio::any_io_executor executor, std::function<void()> wake)
    : job_(std::move(job)),
      text_(std::move(text)),
      engine_(engine),
      executor_(std::move(executor)),
      wake_(std::move(wake)) {}

Generation::~Generation() { Cancel(); }

Result<std::shared_ptr<Generation>> Generation::Start(Job job, std::shared_ptr<const TextModel> text,
                                                      TokenEngine& engine, const std::shared_ptr<Gate>& gate,
                                                      boost::asio::any_io_executor executor,
                                                      std::function<void()> wake) {
  std::shared_ptr<Generation> generation(
      new Generation(std::move(job), std::move(text), engine, std::move(executor), std::move(wake)));
  if (const Status status = generation->Submit(gate); !status.ok()) {
    generation->Cancel();
    return status.error();
  }
  return generation;
}

Status Generation::Submit(const std::shared_ptr<Gate>& gate) {
  choices_.reserve(job_.prompts.size() * job_.n);
  for (const PromptInput& prompt : job_.prompts) {
    for (int i = 0; i < job_.n; ++i) {
      Request request{prompt.tokens, prompt.bidirectional_spans, job_.sampling, job_.priority};
      request.sampling.seed += static_cast<uint64_t>(i);
      const int index = static_cast<int>(choices_.size());
      GANNET_TRY(const RequestId id,
                 engine_.Submit(std::move(request), std::make_shared<Sink>(weak_from_this(), index, gate)));
      choices_.push_back(Choice(id, TextStream(text_->tokenizer, job_.stop, job_.skip_special_tokens)));
    }
  }
  open_choices_ = choices_.size();
  for (size_t p = 0; job_.echo && p < job_.prompts.size(); ++p) {
    PromptInput& prompt = job_.prompts[p];
    if (prompt.echo.empty()) prompt.echo = text_->tokenizer->Decode(prompt.tokens);
    for (int i = 0; i < job_.n && !job_.stream; ++i) choices_[p * job_.n + i].result.text = prompt.echo;
  }
  reply_ = Reply::For(job_);
  for (size_t i = 0; job_.stream && i < choices_.size(); ++i) Emit(reply_->Begin(static_cast<int>(i)));
  return Ok();
}

void Generation::OnEvent(int index, const TokenEvent& event) {
  Choice& choice = choices_[index];
  if (choice.done || done() || cancelled_) return;
  choice.generated_tokens = event.generated_tokens;
  choice.cached_tokens = event.cached_tokens;
  bool stopped = false;
  // The id that stopped it is no part of the answer.
  if (event.has_token && event.finish != FinishReason::kStop) {
    AddLogprob(choice, event);
    TextStream::Piece piece = choice.stream.Push(event.token);
    stopped = piece.stopped;
    AddText(index, std::move(piece.text));
  }
  if (stopped) {
    engine_.Cancel(choice.id);
    Finish(index, "stop");
  } else if (event.finish == FinishReason::kStop || event.finish == FinishReason::kLength) {
    TextStream::Piece rest = choice.stream.Finish();
    AddText(index, std::move(rest.text));
    if (!rest.stopped) FlushLogprobs(index);
    Finish(index, rest.stopped || event.finish == FinishReason::kStop ? "stop" : "length");
  } else if (event.finish == FinishReason::kCancelled) {
    Fail({503, "The server ended this request before its answer was complete; try again.", {}, "unavailable"});
  } else if (event.finish == FinishReason::kError) {
    Fail({500, std::string(event.error), {}, "internal_error"});
  }
  wake_();
}

void Generation::AddLogprob(Choice& choice, const TokenEvent& event) {
  if (!job_.logprobs) return;
  const Tokenizer& tokenizer = *text_->tokenizer;
  LogprobEntry entry{std::string(tokenizer.TokenBytes(event.token)), event.logprob, {}, choice.text_offset};
  for (const TokenLogprob& other : event.top_logprobs) {
    entry.top.emplace_back(tokenizer.TokenBytes(other.token), other.logprob);
  }
  choice.text_offset += CodePoints(entry.token);
  choice.held.push_back(std::move(entry));
}

void Generation::AddText(int index, std::string text) {
  if (text.empty()) return;
  Choice& choice = choices_[index];
  if (job_.stream) {
    Emit(reply_->Delta(index, std::move(text), choice.held));
  } else {
    choice.result.text += text;
    std::move(choice.held.begin(), choice.held.end(), std::back_inserter(choice.result.logprobs));
  }
  choice.held.clear();
}

void Generation::FlushLogprobs(int index) {
  Choice& choice = choices_[index];
  if (choice.held.empty()) return;
  if (job_.stream) {
    Emit(reply_->Delta(index, "", choice.held));
  } else {
    std::move(choice.held.begin(), choice.held.end(), std::back_inserter(choice.result.logprobs));
  }
  choice.held.clear();
}

void Generation::Finish(int index, std::string_view reason) {
  Choice& choice = choices_[index];
  choice.done = true;
  choice.result.finish_reason = reason;
  --open_choices_;
  if (job_.stream) Emit(reply_->End(index, reason));
}

void Generation::Fail(ApiError error) {
  failure_ = std::move(error);
  for (Choice& choice : choices_) {
    if (!choice.done) engine_.Cancel(choice.id);
    choice.done = true;
  }
}

void Generation::Cancel() {
  if (std::exchange(cancelled_, true)) return;
  for (Choice& choice : choices_) {
    if (!std::exchange(choice.done, true)) engine_.Cancel(choice.id);
  }
}

void Generation::Emit(const Json& piece) {
  if (!piece.is_null()) events_ += ServerSentEvent(piece.Dump());
}

std::string Generation::TakeEvents() {
  if (done() && !std::exchange(ended_, true)) {
    if (failure_) {
      events_ += ServerSentEvent(ErrorBody(*failure_).Dump());
    } else {
      if (job_.include_usage) Emit(reply_->StreamUsage(Count()));
      events_ += ServerSentEvent("[DONE]");
    }
  }
  return std::exchange(events_, {});
}

Json Generation::Whole() {
  std::vector<FinishedChoice> finished;
  for (Choice& choice : choices_) finished.push_back(std::move(choice.result));
  return reply_->Whole(std::move(finished), Count());
}

Usage Generation::Count() const {
  Usage usage;
  for (size_t i = 0; i < choices_.size(); ++i) {
    usage.completion_tokens += choices_[i].generated_tokens;
    if (i % job_.n != 0) continue;  // a prompt counts once, however many choices it has
    usage.prompt_tokens += static_cast<int64_t>(job_.prompts[i / job_.n].tokens.size());
    usage.cached_tokens += choices_[i].cached_tokens;
  }
  return usage;
}

}  // namespace gannet
