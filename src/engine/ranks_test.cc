// A rank that goes away, as the engine of rank 0 sees it; tests/e2e/check_ranks.py has real ones.
#include "engine/ranks.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <memory>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "engine/mailbox.h"
#include "engine/test_goldens.h"

namespace gannet {
namespace {

// Two ranks as rank 0 sees them, until the other is gone.
class LostRank : public Communicator {
 public:
  explicit LostRank(int broadcasts) : left_(broadcasts) {}
  int ranks() const override { return 2; }
  bool failed() const override { return left_ < 0; }
  void Broadcast(std::vector<std::byte>&) override {
    if (--left_ < 0) throw CommError("rank 0 lost the others");
  }

 private:
  std::atomic<int> left_;
};

TEST(Engine, LosingARankEndsEveryRequestWithTheReason) {
  const auto comm = std::make_shared<LostRank>(4);  // the cache and three steps
  const std::unique_ptr<Model> model =
      Model::Load(GoldenFolder("glm4-moe-lite-bf16"),
                  {.threads = 1, .max_step_rows = 128, .comm = comm, .experts = Sharding::Experts::kByExpert});
  std::promise<std::string> failed;
  Engine engine(*model, {.max_running = 2, .cache_tokens = 4096, .failed = [&](const std::string& reason) {
                           failed.set_value(reason);
                         }});
  Request request;
  request.prompt = {1, 2, 3};
  request.sampling.max_tokens = 100;
  std::vector<std::shared_ptr<TokenQueue>> queues;
  for (int i = 0; i < 4; ++i) {  // two run, two wait
    queues.push_back(std::make_shared<TokenQueue>());
    if (const auto accepted = engine.Submit(request, queues.back()); !accepted.ok()) {
      EXPECT_EQ(accepted.error().kind, ErrorKind::kUnavailable);  // it failed before this one came
      queues.pop_back();
    }
  }
  ASSERT_FALSE(queues.empty());
  for (const auto& queue : queues) {
    TokenEvent event = queue->Next();
    while (event.finish == FinishReason::kNone) event = queue->Next();
    EXPECT_EQ(event.finish, FinishReason::kError);
    EXPECT_EQ(event.error, "rank 0 lost the others");
  }
  EXPECT_EQ(failed.get_future().get(), "rank 0 lost the others");
  const auto later = engine.Submit(request, std::make_shared<TokenQueue>());
  ASSERT_FALSE(later.ok());
  EXPECT_EQ(later.error().kind, ErrorKind::kUnavailable);
}

}  // namespace
}  // namespace gannet
