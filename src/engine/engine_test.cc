// Promises 1 and 2, as properties of random schedules: whatever else runs, a request gets the same bits and tokens.
#include "engine/engine.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <random>
#include <set>
#include <thread>

#include "engine/mailbox.h"
#include "engine/model.h"
#include "engine/test_goldens.h"

namespace gannet {
namespace {

std::unique_ptr<Model> Load(const std::filesystem::path& path, const char* kernels, int threads) {
  const std::filesystem::path file = path / "model.gguf";
  return Model::Load(std::filesystem::exists(file) ? file : path,
                     {.kernels = kernels, .threads = threads, .max_step_rows = 128});
}

uint64_t BitsOf(std::span<const float> row) {
  uint64_t hash = 1469598103934665603u;
  for (const float value : row) {
    uint32_t bits = 0;
    std::memcpy(&bits, &value, sizeof bits);
    hash = (hash ^ bits) * 1099511628211u;
  }
  return hash;
}

struct Outcome {
  std::vector<uint64_t> rows;  // hash of each logits row
  std::vector<TokenId> tokens;
  FinishReason finish = FinishReason::kNone;
  int events_after_finish = 0;
};

class Recorder : public TokenSink {
 public:
  void OnToken(const TokenEvent& event) override {
    const std::lock_guard lock(mutex_);
    if (outcome_.finish != FinishReason::kNone) ++outcome_.events_after_finish;
    if (event.has_token) {
      outcome_.rows.push_back(BitsOf(event.logits));
      outcome_.tokens.push_back(event.token);
    }
    outcome_.finish = event.finish;
  }
  size_t tokens() const {
    const std::lock_guard lock(mutex_);
    return outcome_.tokens.size();
  }
  Outcome outcome() const {
    const std::lock_guard lock(mutex_);
    return outcome_;
  }

 private:
  mutable std::mutex mutex_;
  Outcome outcome_;
};

std::vector<Request> RandomRequests(std::mt19937& random, int count, int64_t vocab) {
  const auto below = [&](int n) { return static_cast<int>(random() % static_cast<uint32_t>(n)); };
  std::vector<TokenId> shared;
  for (int i = 0; i < 200; ++i) shared.push_back(below(static_cast<int>(vocab)));
  std::vector<Request> requests;
  for (int r = 0; r < count; ++r) {
    Request request;
    const int length = 1 + below(below(3) == 0 ? 150 : 40);
    const bool shares = below(2) == 0;  // prefixes in common, so that the prefix cache has something to find
    for (int i = 0; i < length; ++i) {
      const size_t at = static_cast<size_t>(i);
      request.prompt.push_back(shares ? shared[at] : below(static_cast<int>(vocab)));
    }
    if (below(3) == 0) {  // tokens that see each other
      const int begin = below(length);
      request.bidirectional_spans.push_back({begin, std::min(length, begin + 1 + below(7))});
    }
    request.sampling.max_tokens = 1 + below(below(4) == 0 ? 100 : 24);
    request.sampling.temperature = below(2) == 0 ? 0.0f : 1.0f;
    request.sampling.top_p = below(3) == 0 ? 0.9f : 1.0f;
    if (below(3) == 0) request.sampling.repetition_penalty = 1.1f;
    request.sampling.seed = random();
    request.priority = below(8) == 0 ? 1 : 0;
    requests.push_back(std::move(request));
  }
  return requests;
}

Outcome RunAlone(Model& model, const Request& request) {
  Engine engine(model, {.max_batch_rows = 128, .max_running = 1, .cache_tokens = 1024, .prefix_cache = false});
  const auto recorder = std::make_shared<Recorder>();
  EXPECT_TRUE(engine.Submit(request, recorder).ok());
  engine.WaitIdle();
  return recorder->outcome();
}

struct Schedule {
  int max_batch_rows;
  int max_running;
  int64_t cache_tokens;
  bool prefix_cache;
};

// Submits in bursts while others run, cancels some; returns what each got.
std::vector<Outcome> RunTogether(Model& model, const std::vector<Request>& requests, const Schedule& schedule,
                                 std::mt19937& random, int64_t* preemptions) {
  const auto below = [&](int n) { return static_cast<int>(random() % static_cast<uint32_t>(n)); };
  Engine engine(model, {.max_batch_rows = schedule.max_batch_rows,
                        .max_running = schedule.max_running,
                        .cache_tokens = schedule.cache_tokens,
                        .prefix_cache = schedule.prefix_cache});
  std::vector<std::shared_ptr<Recorder>> recorders;
  for (const Request& request : requests) {
    recorders.push_back(std::make_shared<Recorder>());
    if (!request.bidirectional_spans.empty() && schedule.max_batch_rows < 7) {  // refused
      TokenEvent refused;
      refused.finish = FinishReason::kCancelled;
      recorders.back()->OnToken(refused);
      continue;
    }
    const Result<RequestId> id = engine.Submit(request, recorders.back());
    EXPECT_TRUE(id.ok());
    if (below(8) == 0) std::this_thread::sleep_for(std::chrono::microseconds(below(300)));
    if (below(5) == 0) engine.Cancel(id.value());
  }
  engine.WaitIdle();
  const EngineStats stats = engine.stats();
  EXPECT_EQ(stats.blocks_free, stats.blocks_total);
  *preemptions += stats.preemptions;
  std::vector<Outcome> outcomes;
  for (const auto& recorder : recorders) outcomes.push_back(recorder->outcome());
  return outcomes;
}

void ExpectSame(const Outcome& alone, const Outcome& together, const std::string& what) {
  ASSERT_NE(together.finish, FinishReason::kNone) << what;
  ASSERT_EQ(together.events_after_finish, 0) << what;
  size_t count = alone.tokens.size();
  if (together.finish == FinishReason::kCancelled) {
    ASSERT_LE(together.tokens.size(), count) << what;
    count = together.tokens.size();
  } else {
    ASSERT_EQ(together.tokens.size(), count) << what;
    ASSERT_EQ(together.finish, alone.finish) << what;
  }
  for (size_t i = 0; i < count; ++i) {
    ASSERT_EQ(together.rows[i], alone.rows[i]) << what << ", logits of token " << i;
    ASSERT_EQ(together.tokens[i], alone.tokens[i]) << what << ", token " << i;
  }
}

constexpr Schedule kSchedules[] = {
    {128, 32, 8192, true}, {7, 32, 8192, false}, {33, 5, 2048, true}, {128, 32, 384, true}, {1, 2, 384, false}};

// Every request of every schedule against the same request alone, on one table of kernels.
void CheckSameBits(const std::filesystem::path& path, const char* kernels, int count, int64_t* preemptions) {
  std::mt19937 random(20261121);
  const std::unique_ptr<Model> one_thread = Load(path, kernels, 1);
  const std::unique_ptr<Model> two_threads = Load(path, kernels, 2);
  const std::vector<Request> requests = RandomRequests(random, count, one_thread->spec().vocab);
  std::vector<Outcome> alone;
  for (const Request& request : requests) alone.push_back(RunAlone(*one_thread, request));
  int turn = 0;
  for (const Schedule& schedule : kSchedules) {
    Model& model = ++turn % 2 == 0 ? *one_thread : *two_threads;
    const std::vector<Outcome> together = RunTogether(model, requests, schedule, random, preemptions);
    for (size_t i = 0; i < requests.size(); ++i) {
      const std::string what = path.filename().string() + ", " + kernels + ", request " + std::to_string(i);
      ExpectSame(alone[i], together[i], what);
      if (testing::Test::HasFatalFailure()) return;
    }
  }
}

// Sanitizers look for races and bad reads, which one table of kernels meets here; all of them would take half an hour.
#ifdef __SANITIZE_THREAD__
constexpr bool kThreadSanitizer = true;
#else
constexpr bool kThreadSanitizer = false;
#endif
#ifdef __SANITIZE_ADDRESS__
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = kThreadSanitizer;
#endif

// Those named Slow are left out under sanitizers. Of quantized formats a few have them all between them: dequantizers,
// joined tensors, kernels. Threads share nothing that depends on a format: for their sanitizer one model of each kind
// of layer does.
std::vector<std::string> TestModelNames(bool slow) {
  const std::set<std::string> quick = {
      "mxfp4-gpt-oss", "fp8-block-deepseek-v3",  "nvfp4-packed-qwen3", "int8-ernie", "int4-zeros-qwen3",
      "awq-llama",     "gptq-desc-act-qwen3-moe"};
  const std::set<std::string> of_each_kind = {"glm4-moe-lite-bf16", "deepseek-v32-yarn", "gpt-oss-yarn",
                                              "mimo-v2-flash-hub",  "step3p7-f32",       "mxfp4-gpt-oss",
                                              "int4-zeros-qwen3",   "llama-f32"};
  std::vector<std::string> names;
  for (const std::filesystem::path& path : TestModels()) {
    const std::string name = path.filename().string();
    const bool quantized =
        std::filesystem::exists(path / "config.json") &&
        ReadTextFile(path / "config.json", size_t{1} << 20).find("quantization_config") != std::string::npos;
    const bool is_slow = kThreadSanitizer ? !of_each_kind.contains(name) : quantized && !quick.contains(name);
    if (is_slow == slow) names.push_back(name);
  }
  return names;
}

class Promise : public testing::TestWithParam<std::string> {};

TEST_P(Promise, SameBitsWhateverElseRuns) {
  int64_t preemptions = 0;
  for (const Kernels* kernels : AvailableKernels()) {
    if (kSanitized && kernels != AvailableKernels().front()) continue;
    CheckSameBits(GoldenFolder(GetParam().c_str()), kernels->name, 32, &preemptions);
    if (HasFatalFailure()) return;
  }
  EXPECT_GT(preemptions, 0) << "the small caches must have forced some";
}
INSTANTIATE_TEST_SUITE_P(EveryTinyModel, Promise, testing::ValuesIn(TestModelNames(false)), FolderTestName());
INSTANTIATE_TEST_SUITE_P(SlowFormats, Promise, testing::ValuesIn(TestModelNames(true)), FolderTestName());

TEST(Engine, RefusesSpansThatAreNoPartOfThePrompt) {
  const std::unique_ptr<Model> model = Load(GoldenFolder("llama-f32"), "auto", 1);
  Engine engine(*model, {.max_batch_rows = 8, .cache_tokens = 1024});
  const auto refusal = [&](std::vector<TokenSpan> spans) {
    Request request;
    for (TokenId id = 0; id < 20; ++id) request.prompt.push_back(id);
    request.bidirectional_spans = std::move(spans);
    const Result<RequestId> id = engine.Submit(request, std::make_shared<Recorder>());
    return id.ok() ? std::string() : id.error().message;
  };
  const std::string shape = " is not a part of the prompt's 20 tokens: it must be [first, one past the last]";
  EXPECT_EQ(refusal({{-1, 4}}), "the bidirectional span [-1, 4]" + shape);
  EXPECT_EQ(refusal({{4, 4}}), "the bidirectional span [4, 4]" + shape);
  EXPECT_EQ(refusal({{18, 21}}), "the bidirectional span [18, 21]" + shape);
  EXPECT_EQ(refusal({{4, 8}, {7, 9}}), "the bidirectional span [7, 9] overlaps the one before it, or comes before it");
  EXPECT_EQ(
      refusal({{4, 13}}),
      "the bidirectional span [4, 13] has 9 tokens, but all of a span is computed in one step, where 8 have room");
  EXPECT_EQ(refusal({{0, 8}, {8, 16}, {19, 20}}), "");
  engine.WaitIdle();
}

// A span as long as a step runs although another request generates all the while.
TEST(Engine, ASpanOfAWholeStepWaitsForNobody) {
  const std::unique_ptr<Model> model = Load(GoldenFolder("llama-f32"), "auto", 1);
  Engine engine(*model, {.max_batch_rows = 8, .max_running = 4, .cache_tokens = 1024});
  Request generating;
  generating.prompt = {1, 2, 3};
  generating.sampling.max_tokens = 200;
  const auto first = std::make_shared<Recorder>();
  ASSERT_TRUE(engine.Submit(generating, first).ok());
  Request spanned;
  for (TokenId id = 0; id < 20; ++id) spanned.prompt.push_back(id);
  spanned.bidirectional_spans = {{4, 12}};
  spanned.sampling.max_tokens = 2;
  const auto second = std::make_shared<Recorder>();
  ASSERT_TRUE(engine.Submit(spanned, second).ok());
  while (second->outcome().finish == FinishReason::kNone) std::this_thread::yield();
  EXPECT_EQ(second->outcome().finish, FinishReason::kLength);
  EXPECT_LT(first->tokens(), 200u);
  engine.WaitIdle();
  EXPECT_EQ(first->tokens(), 200u);
}

TEST(PromiseOf, SlowSameBitsOfTheBundledModel) {  // 4-bit and 8-bit weights
  const auto path = std::filesystem::path(GANNET_SOURCE_DIR) / ".cache/models/SmolLM2-135M-Instruct.Q4_1.gguf";
  if (!std::filesystem::exists(path)) GTEST_SKIP() << path << " is fetched by ./run and ./test";
  int64_t preemptions = 0;
  for (const Kernels* kernels : AvailableKernels()) {
    if (std::string_view(kernels->name) == "reference") continue;  // plain loops: minutes
    CheckSameBits(path, kernels->name, 12, &preemptions);
    if (HasFatalFailure()) return;
  }
}

TEST(Engine, RefusesWhatItCannotServe) {
  const std::unique_ptr<Model> model = Load(TestModels().front(), "auto", 1);
  Engine engine(*model, {.max_running = 2, .max_waiting = 0, .cache_tokens = 256});
  const auto sink = std::make_shared<Recorder>();
  const auto submit = [&](auto change) {
    Request request;
    request.prompt = {1, 2, 3};
    change(request);
    const Result<RequestId> result = engine.Submit(request, sink);
    return result.ok() ? std::string("accepted") : result.error().message;
  };
  EXPECT_EQ(submit([](Request& r) { r.prompt.clear(); }), "the prompt is empty");
  EXPECT_NE(submit([](Request& r) { r.prompt = {1 << 30}; }).find("token 1073741824"), std::string::npos);
  EXPECT_NE(submit([](Request& r) { r.prompt = {-1}; }).find("token -1"), std::string::npos);
  EXPECT_NE(submit([](Request& r) { r.sampling.temperature = -1; }).find("temperature"), std::string::npos);
  EXPECT_NE(submit([](Request& r) { r.sampling.temperature = std::nanf(""); }).find("temperature"), std::string::npos);
  EXPECT_NE(submit([](Request& r) { r.sampling.top_p = 1.5f; }).find("top_p"), std::string::npos);
  EXPECT_NE(submit([](Request& r) { r.sampling.max_tokens = 0; }).find("max_tokens"), std::string::npos);
  EXPECT_NE(submit([](Request& r) { r.sampling.logit_bias = {{1 << 30, 1}}; }).find("logit_bias"), std::string::npos);
  EXPECT_NE(submit([](Request& r) { r.sampling.max_tokens = 100000; }).find("context"), std::string::npos);
  EXPECT_EQ(sink->outcome().finish, FinishReason::kNone);
  EXPECT_EQ(submit([](Request&) {}), "accepted");
  engine.WaitIdle();
  EXPECT_EQ(sink->outcome().finish, FinishReason::kLength);
}

TEST(Engine, LaysOutItsWeightsWhileNothingIsAsked) {
  const std::unique_ptr<Model> model = Load(GoldenFolder("mxfp4-glm4-moe-lite"), "auto", 2);
  const int64_t matrices = std::ssize(model->matrices());
  int64_t own = 0;  // calls here, each of which lays out one too
  do {
    const Engine engine(*model, {});
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  } while (model->LayOutNext() && ++own < matrices / 2);
  EXPECT_LT(own, matrices / 2);
}

TEST(Engine, QueueIsBoundedAndDrainRefuses) {
  const std::unique_ptr<Model> model = Load(TestModels().front(), "auto", 1);
  Engine engine(*model, {.max_running = 1, .max_waiting = 2, .cache_tokens = 4096});
  Request request;
  request.prompt = {1, 2, 3};
  request.sampling.max_tokens = 64;
  std::vector<std::shared_ptr<Recorder>> recorders;
  int accepted = 0;
  ErrorKind refused = ErrorKind::kInvalid;
  for (int i = 0; i < 50; ++i) {
    recorders.push_back(std::make_shared<Recorder>());
    const Result<RequestId> result = engine.Submit(request, recorders.back());
    accepted += result.ok();
    if (!result.ok()) refused = result.error().kind;
  }
  EXPECT_LT(accepted, 50);
  EXPECT_GE(accepted, 3);
  EXPECT_EQ(refused, ErrorKind::kBusy);
  engine.Drain();
  const Result<RequestId> late = engine.Submit(request, recorders.back());
  ASSERT_FALSE(late.ok());
  EXPECT_EQ(late.error().kind, ErrorKind::kUnavailable);
  engine.WaitIdle();
  int finished = 0;
  for (const auto& recorder : recorders) finished += recorder->outcome().finish == FinishReason::kLength;
  EXPECT_EQ(finished, accepted);  // nothing accepted is lost
}

TEST(Engine, EndingCancelsWhatIsLeft) {
  const std::unique_ptr<Model> model = Load(TestModels().front(), "auto", 1);
  std::vector<std::shared_ptr<Recorder>> recorders;
  {
    Engine engine(*model, {.max_running = 2, .cache_tokens = 4096});
    Request request;
    request.prompt = {1, 2, 3};
    request.sampling.max_tokens = 200;
    for (int i = 0; i < 8; ++i) {
      recorders.push_back(std::make_shared<Recorder>());
      ASSERT_TRUE(engine.Submit(request, recorders.back()).ok());
    }
  }
  for (const auto& recorder : recorders) EXPECT_NE(recorder->outcome().finish, FinishReason::kNone);
}

TEST(Engine, CachedPromptTokensAreCounted) {
  const std::unique_ptr<Model> model = Load(TestModels().front(), "auto", 2);
  Engine engine(*model, {.max_running = 2, .cache_tokens = 4096});
  Request request;
  for (int i = 0; i < 150; ++i) request.prompt.push_back(i % 80);
  request.sampling.max_tokens = 2;
  for (const int expected : {0, 128}) {
    const auto queue = std::make_shared<TokenQueue>();
    ASSERT_TRUE(engine.Submit(request, queue).ok());
    TokenEvent event = queue->Next();
    EXPECT_EQ(event.prompt_tokens, 150);
    EXPECT_EQ(event.cached_tokens, expected);
    while (event.finish == FinishReason::kNone) event = queue->Next();
  }
}

}  // namespace
}  // namespace gannet
