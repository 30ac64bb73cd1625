#include "cli/bench.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <mutex>
#include <span>

#include "base/json.h"
#include "base/philox.h"
#include "cli/bench_kernels.h"
#include "cli/common.h"
#include "cli/stream_rate.h"
#include "kernels/roof.h"

namespace gannet {
namespace {

using Clock = std::chrono::steady_clock;

struct BenchFlags {
  RunFlags run;
  std::vector<int> streams = {1, 4, 16};
  int prompt = 512;
  int generate = 128;
  int context = 16;
  std::vector<int> contexts = {};
  std::vector<int> rows = {1, 512};
  int repeat = 3;
  bool json = false;
};

// Collects when each token of each stream arrived.
class Stopwatch : public TokenSink {
 public:
  void OnToken(const TokenEvent& event) override {
    const std::lock_guard lock(mutex_);
    if (event.has_token) arrivals_.push_back(Clock::now());
    if (event.finish != FinishReason::kNone) finish_ = event.finish;
  }
  const std::vector<Clock::time_point>& arrivals() const { return arrivals_; }
  FinishReason finish() const { return finish_; }

 private:
  std::mutex mutex_;
  std::vector<Clock::time_point> arrivals_;
  FinishReason finish_ = FinishReason::kNone;
};

struct Speed {
  double prefill = 0;  // prompt tokens a second, all streams
  double decode = 0;   // generated tokens a second, all streams together (TokensPerSecond)
};

double Seconds(Clock::time_point begin, Clock::time_point end) {
  return std::chrono::duration<double>(end - begin).count();
}

struct ContextSpeed {
  double seconds = 0;  // of a generated token
  PartTimes parts;     // of these
  double prompt_seconds = 0;
  PartTimes prompt_parts;
};

// Notes the time by part at its first token and at its last.
class PartWatch : public TokenSink {
 public:
  explicit PartWatch(const Model& model) : model_(model), at_start_(model.part_times()) {}
  void OnToken(const TokenEvent& event) override {  // between passes, on the engine's thread
    if (!event.has_token) return;
    if (tokens_++ == 0) {
      begin_ = Clock::now();
      at_begin_ = model_.part_times();
    }
    end_ = Clock::now();
    at_end_ = model_.part_times();
  }
  ContextSpeed Average() const {
    const double steps = tokens_ - 1;
    ContextSpeed speed;
    speed.seconds = Seconds(begin_, end_) / steps;
    speed.prompt_seconds = Seconds(start_, begin_);
    for (size_t i = 0; i < kParts; ++i) {
      speed.parts.seconds[i] = (at_end_.seconds[i] - at_begin_.seconds[i]) / steps;
      speed.prompt_parts.seconds[i] = at_begin_.seconds[i] - at_start_.seconds[i];
    }
    return speed;
  }

 private:
  const Model& model_;
  int tokens_ = 0;
  Clock::time_point start_ = Clock::now();
  Clock::time_point begin_, end_;
  PartTimes at_start_, at_begin_, at_end_;
};

std::vector<TokenId> RandomPrompt(int64_t vocab, int tokens, int stream, uint64_t seed) {
  std::vector<TokenId> prompt;
  for (int i = 0; i < tokens; ++i) {
    const auto bits = Philox(seed, {static_cast<uint32_t>(i), static_cast<uint32_t>(stream), 0, 0});
    prompt.push_back(static_cast<TokenId>(bits[0] % static_cast<uint64_t>(vocab)));
  }
  return prompt;
}

// One stream that generates behind `context` tokens.
ContextSpeed MeasureContext(Engine& engine, const Model& model, int context, int generate) {
  Request request;
  request.prompt = RandomPrompt(model.spec().vocab, std::max(1, context), 0, 3);
  request.sampling.temperature = 0;
  request.sampling.max_tokens = generate;
  const auto watch = std::make_shared<PartWatch>(model);
  OrThrow(engine.Submit(std::move(request), watch));
  engine.WaitIdle();
  return watch->Average();
}

// `streams` requests at once, of random prompts that share nothing.
std::vector<std::shared_ptr<Stopwatch>> RunStreams(Engine& engine, int64_t vocab, int streams, int prompt, int generate,
                                                   uint64_t seed) {
  std::vector<std::shared_ptr<Stopwatch>> watches;
  for (int stream = 0; stream < streams; ++stream) {
    Request request;
    request.prompt = RandomPrompt(vocab, prompt, stream, seed);
    request.sampling.temperature = 0;
    request.sampling.max_tokens = generate;
    watches.push_back(std::make_shared<Stopwatch>());
    OrThrow(engine.Submit(std::move(request), watches.back()));
  }
  engine.WaitIdle();
  for (const auto& watch : watches) {
    if (watch->finish() != FinishReason::kLength) throw std::runtime_error("a stream of the benchmark did not finish");
  }
  return watches;
}

Speed Measure(Engine& engine, int64_t vocab, int streams, const BenchFlags& flags, uint64_t seed) {
  Speed speed;
  Clock::time_point begin = Clock::now();
  Clock::time_point end = begin;
  for (const auto& watch : RunStreams(engine, vocab, streams, flags.prompt, 1, seed)) {
    end = std::max(end, watch->arrivals().front());
  }
  speed.prefill = streams * flags.prompt / Seconds(begin, end);
  const auto watches = RunStreams(engine, vocab, streams, flags.context, flags.generate, seed + 1);
  std::vector<std::vector<double>> arrivals;
  for (const auto& watch : watches) {
    std::vector<double>& seconds = arrivals.emplace_back();
    for (const Clock::time_point at : watch->arrivals()) seconds.push_back(Seconds(begin, at));
  }
  speed.decode = TokensPerSecond(arrivals);
  return speed;
}

int Bench(BenchFlags flags) {
  const std::unique_ptr<Model> model = LoadModel(flags.run);
  model->pool().BindCaller();
  const MachineRoof roof = MeasureRoof(model->pool(), model->kernels());
  while (model->LayOutNext()) continue;  // or the engine would, on the pool that measures here
  Engine engine(*model, {.prefix_cache = false});
  const int64_t vocab = model->spec().vocab;
  const double bytes = model->bytes_per_step(1);
  const double operations = model->operations_per_token();
  // Of a prompt lm_head takes the last token alone.
  const double head = 2.0 * static_cast<double>(model->spec().hidden) * static_cast<double>(vocab);
  const double of_prompt = operations - head * (1.0 - 1.0 / flags.prompt);

  Json report;
  report.Set("model", flags.run.model);
  report.Set("kernels", model->kernels().name);
  report.Set("threads", model->pool().size());
  report.Set("bytes_per_token", bytes);
  report.Set("operations_per_token", operations);
  Json machine;
  machine.Set("read_gb_s", roof.read_gb_s);
  machine.Set("int8_gops", roof.int8_gops);
  if (roof.bf16_gflops > 0) machine.Set("bf16_gflops", roof.bf16_gflops);
  machine.Set("fp32_gflops", roof.fp32_gflops);
  report.Set("roof", machine);
  if (!flags.json) {
    std::fputs(fmt::format("{} · kernels {} · {} threads\nroof measured now: read {:.1f} GB/s, int8 {:.0f} GOPS, "
                           "{}fp32 {:.0f} GFLOPS\nof weights, a token reads {:.1f} MB and takes {:.2f} G operations\n\n"
                           "{:>7} {:>16} {:>14} {:>16} {:>13} {:>18} {:>9}\n",
                           flags.run.model, model->kernels().name, model->pool().size(), roof.read_gb_s, roof.int8_gops,
                           roof.bf16_gflops > 0 ? fmt::format("bf16 {:.0f}, ", roof.bf16_gflops) : "", roof.fp32_gflops,
                           bytes / 1e6, operations / 1e9, "streams", fmt::format("prefill {} t/s", flags.prompt),
                           "of int8 peak", "decode t/s", "of read roof", "weights alone t/s", "of these")
                   .c_str(),
               stdout);
  }
  Json results{Json::Array{}};
  for (const int streams : flags.streams) {
    if (streams == 0) continue;
    Measure(engine, vocab, streams, flags, 1);  // warms caches and clocks
    std::vector<double> prefill;
    std::vector<double> decode;
    for (int i = 0; i < flags.repeat; ++i) {
      const Speed speed = Measure(engine, vocab, streams, flags, static_cast<uint64_t>(10 * i + 10));
      prefill.push_back(speed.prefill);
      decode.push_back(speed.decode);
    }
    std::ranges::sort(prefill);
    std::ranges::sort(decode);
    const double p = prefill[prefill.size() / 2];
    const double d = decode[decode.size() / 2];
    // Every step of `streams` rows reads the weights once.
    const double of_roof = d / streams * bytes / 1e9 / roof.read_gb_s;
    const double reads = MeasureStepReads(*model, streams);
    const double alone = streams * reads * 1e9 / model->bytes_per_step(streams);
    const double of_alone = alone > 0 ? d / alone : 0;
    const double of_peak = p * of_prompt / 1e9 / roof.int8_gops;
    Json result;
    result.Set("streams", streams);
    result.Set("prompt_tokens", flags.prompt);
    result.Set("generated_tokens", flags.generate);
    result.Set("context_tokens", flags.context);
    result.Set("prefill_tokens_per_s", p);
    result.Set("prefill_share_of_int8_peak", of_peak);
    result.Set("decode_tokens_per_s", d);
    result.Set("decode_share_of_read_roof", of_roof);
    result.Set("weights_read_gb_s", reads);
    result.Set("weights_alone_tokens_per_s", alone);
    result.Set("decode_share_of_weights_alone", of_alone);
    results.Append(std::move(result));
    if (!flags.json) {
      std::fputs(fmt::format("{:>7} {:>16.1f} {:>13.0f}% {:>16.1f} {:>12.0f}% {:>18.1f} {:>8.0f}%\n", streams, p,
                             100 * of_peak, d, 100 * of_roof, alone, 100 * of_alone)
                     .c_str(),
                 stdout);
      std::fflush(stdout);
    }
  }
  report.Set("results", std::move(results));
  Json contexts{Json::Array{}};
  if (!flags.contexts.empty() && !flags.json) {
    std::fputs("\nms of a generated token, one stream, by context, and of the prompt before it\n", stdout);
    std::fputs(fmt::format("{:>9} {:>12}", "context", "whole step").c_str(), stdout);
    for (const std::string_view part : kPartNames) std::fputs(fmt::format(" {:>12}", part).c_str(), stdout);
  }
  for (const int context : flags.contexts) {
    const ContextSpeed speed = MeasureContext(engine, *model, context, flags.generate);
    Json result;
    result.Set("context_tokens", context);
    result.Set("generated_tokens", flags.generate);
    result.Set("ms_per_token", 1e3 * speed.seconds);
    Json parts;
    for (size_t i = 0; i < kParts; ++i) parts.Set(kPartNames[i], 1e3 * speed.parts.seconds[i]);
    result.Set("parts_ms", std::move(parts));
    result.Set("prompt_ms", 1e3 * speed.prompt_seconds);
    Json prompt_parts;
    for (size_t i = 0; i < kParts; ++i) prompt_parts.Set(kPartNames[i], 1e3 * speed.prompt_parts.seconds[i]);
    result.Set("prompt_parts_ms", std::move(prompt_parts));
    contexts.Append(std::move(result));
    if (flags.json) continue;
    const auto line = [](const std::string& name, double whole, const PartTimes& parts) {
      std::fputs(fmt::format("\n{:>9} {:>12.3f}", name, 1e3 * whole).c_str(), stdout);
      for (const double seconds : parts.seconds) std::fputs(fmt::format(" {:>12.3f}", 1e3 * seconds).c_str(), stdout);
    };
    line(std::to_string(context), speed.seconds, speed.parts);
    line("prompt", speed.prompt_seconds, speed.prompt_parts);
    std::fflush(stdout);
  }
  if (!flags.contexts.empty() && !flags.json) std::fputs("\n", stdout);
  report.Set("contexts", std::move(contexts));
  if (std::erase(flags.rows, 0); !flags.rows.empty()) {
    const std::vector<KernelRow> kernels =
        MeasureKernels(*model, flags.rows, flags.contexts.empty() ? std::vector<int>{4096} : flags.contexts);
    report.Set("kernel_speeds", JsonOf(kernels, roof));
    if (!flags.json) std::fputs(TableOf(kernels, roof).c_str(), stdout);
  }
  if (flags.json) std::fputs((report.Dump(2) + "\n").c_str(), stdout);
  return 0;
}

}  // namespace

void AddBench(CommandLine& command_line) {
  Command command =
      command_line.AddCommand("bench", "the machine's roofs, then prefill and decode speeds against them");
  auto flags = std::make_shared<BenchFlags>();
  AddRunFlags(command, flags->run);
  command.AddOption("--streams", flags->streams, "how many requests at once; 0 for none").Delimiter(',').ShowDefault();
  command.AddOption("--prompt", flags->prompt, "prompt tokens of a stream").Range(1, 1 << 20);
  command.AddOption("--generate", flags->generate, "tokens a stream generates").Range(2, 1 << 20);
  command.AddOption("--context", flags->context, "tokens before the first generated one when decode is measured")
      .Range(1, 1 << 20);
  command
      .AddOption("--contexts", flags->contexts,
                 "also one stream behind each of these many tokens, with the time of a token by part")
      .Delimiter(',');
  command
      .AddOption("--rows", flags->rows,
                 "each kernel of the model beside the roofs, with so many rows; attention behind --contexts tokens, or "
                 "4096; 0 for none")
      .Delimiter(',')
      .ShowDefault();
  command.AddOption("--repeat", flags->repeat, "the median of so many runs").Range(1, 1000);
  command.AddFlag("--json", flags->json, "machine-readable");
  command.SetCallback([flags] { return Bench(*flags); });
}

}  // namespace gannet
