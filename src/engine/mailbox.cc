#include "engine/mailbox.h"

#include <utility>

namespace gannet {

Result<RequestId> Mailbox::Submit(Request request, std::shared_ptr<TokenSink> sink) {
  RequestId id;
  {
    const std::lock_guard lock(mutex_);
    if (draining_) return Error{"the server is shutting down and takes no new requests", ErrorKind::kUnavailable};
    if (stats_.running + stats_.waiting + unpublished_ >= max_accepted_) {
      return Error{
          "the queue is full: " + std::to_string(max_accepted_) + " requests are running or waiting; try again later",
          ErrorKind::kBusy};
    }
    id = next_id_++;
    ++unpublished_;
    mail_.submissions.push_back({id, std::move(request), std::move(sink)});
  }
  arrived_.notify_one();
  return id;
}

void Mailbox::Cancel(RequestId id) {
  {
    const std::lock_guard lock(mutex_);
    mail_.cancellations.push_back(id);
  }
  arrived_.notify_one();
}

void Mailbox::Drain() {
  const std::lock_guard lock(mutex_);
  draining_ = true;
}

void Mailbox::Stop() {
  {
    const std::lock_guard lock(mutex_);
    draining_ = true;
    mail_.stop = true;
  }
  arrived_.notify_one();
}

Mailbox::Mail Mailbox::Take(bool wait) {
  std::unique_lock lock(mutex_);
  const auto something = [&] { return mail_.stop || !mail_.submissions.empty() || !mail_.cancellations.empty(); };
  if (wait) arrived_.wait(lock, something);
  const bool stop = mail_.stop;
  Mail mail = std::exchange(mail_, Mail{});
  mail_.stop = stop;
  return mail;
}

void Mailbox::Publish(const EngineStats& stats) {
  {
    const std::lock_guard lock(mutex_);
    stats_ = stats;
    unpublished_ = static_cast<int>(mail_.submissions.size());
  }
  published_.notify_all();
}

EngineStats Mailbox::stats() const {
  const std::lock_guard lock(mutex_);
  EngineStats stats = stats_;
  stats.waiting += unpublished_;
  return stats;
}

void Mailbox::WaitIdle() {
  std::unique_lock lock(mutex_);
  published_.wait(lock, [&] { return stats_.running == 0 && stats_.waiting == 0 && unpublished_ == 0; });
}

void TokenQueue::OnToken(const TokenEvent& event) {
  {
    const std::lock_guard lock(mutex_);
    events_.push_back(event);
  }
  arrived_.notify_one();
}

TokenEvent TokenQueue::Next() {
  std::unique_lock lock(mutex_);
  arrived_.wait(lock, [&] { return !events_.empty(); });
  TokenEvent event = std::move(events_.front());
  events_.pop_front();
  return event;
}

}  // namespace gannet
