#include "cli/common.h"

#include <fmt/format.h>
#include <unistd.h>

#include <charconv>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <iterator>

#include "base/log.h"
#include "engine/ranks.h"

namespace gannet {
void WriteTextFile(const std::filesystem::path& path, std::string_view text) {
  std::ofstream file(path, std::ios::binary);
  file << text;
  file.close();
  if (!file) throw UsageError(fmt::format("cannot write {}", path.string()));
}

std::vector<TokenSpan> ParseSpans(const std::vector<std::string>& texts, int64_t tokens) {
  std::vector<TokenSpan> spans;
  for (const std::string& text : texts) {
    TokenSpan span;
    const char* const end = text.data() + text.size();
    const auto first = std::from_chars(text.data(), end, span.begin);
    const bool colon = first.ec == std::errc() && first.ptr != end && *first.ptr == ':';
    const auto last = colon ? std::from_chars(first.ptr + 1, end, span.end) : first;
    if (!colon || last.ec != std::errc() || last.ptr != end) {
      throw UsageError(fmt::format("--bidirectional '{}' is not of the form first:one-past-the-last", text));
    }
    if (span.begin < (spans.empty() ? 0 : spans.back().end) || span.end <= span.begin || span.end > tokens) {
      throw UsageError(
          fmt::format("--bidirectional {}: spans ascend, do not overlap and lie within the {} tokens of the "
                      "prompt",
                      text, tokens));
    }
    spans.push_back(span);
  }
  return spans;
}

void AddSpansFlag(Command& command, std::vector<std::string>& texts) {
  command.AddOption("--bidirectional", texts,
                    "A:B, tokens A to B - 1 of the prompt see each other, later ones too; may be given several times");
}

KvType ParseKvType(const std::string& name) {
  if (name == "f32") return KvType::kF32;
  if (name == "f16") return KvType::kF16;
  if (name == "bf16") return KvType::kBF16;
  if (name == "fp8") return KvType::kFp8;
  if (name == "int8") return KvType::kInt8;
  throw UsageError(fmt::format("--kv-type is {}, but must be f32, f16, bf16, fp8 or int8", name));
}

void AddModelArgument(Command& command, std::string& model) {
  command.AddOption("MODEL", model, "a folder in Hugging Face layout, or a .gguf file").Required();
}

void AddRunFlags(Command& command, RunFlags& flags) {
  AddModelArgument(command, flags.model);
  command.AddOption("--threads", flags.threads, "threads that compute (default: one for each core)").Range(0, 4096);
  command.AddOption("--kernels", flags.kernels, "auto, reference, or the name of a table of kernels").ShowDefault();
  command.AddOption("--config-override", flags.overrides, "KEY=VALUE, read in place of the model's own key")
      .ShowOneValue();
  command.AddOption("--kv-type", flags.kv_type, "type of the cache: f32, f16, bf16, fp8 or int8").ShowDefault();
  command.AddOption("--memory-limit", flags.memory_limit, "most memory for weights, workspace and cache (8G, 512M)");
  command
      .AddOption("--shard-experts", flags.experts,
                 "under mpirun: width, a part of every expert on each rank, or whole, some experts on each")
      .ShowDefault();
}

std::shared_ptr<Communicator> World() {
  static const std::shared_ptr<Communicator> world = JoinWorld();
  return world;
}

std::unique_ptr<Model> LoadModel(const RunFlags& flags, int64_t max_step_rows, bool drafts) {
  ModelOptions options;
  options.kernels = flags.kernels;
  options.threads = flags.threads;
  options.kv_type = ParseKvType(flags.kv_type);
  options.overrides = flags.overrides;
  if (!flags.memory_limit.empty()) options.memory_limit = ParseBytes(flags.memory_limit);
  if (max_step_rows > 0) options.max_step_rows = max_step_rows;
  options.drafts = drafts;
  options.comm = World();
  if (flags.experts != "width" && flags.experts != "whole") {
    throw UsageError(fmt::format("--shard-experts is '{}', but must be width or whole", flags.experts));
  }
  if (flags.experts == "whole") options.experts = Sharding::Experts::kByExpert;
  const bool terminal = isatty(STDERR_FILENO) != 0;
  const auto begin = std::chrono::steady_clock::now();
  auto shown = begin;
  options.progress = [&](int64_t done, int64_t all) {
    const auto now = std::chrono::steady_clock::now();
    // A terminal gets a line that changes; a log gets one every two seconds.
    if (now - begin < std::chrono::seconds(1) || (!terminal && now - shown < std::chrono::seconds(2))) return;
    shown = now;
    std::fputs(fmt::format("{}loading {}: {:.1f} of {:.1f} GB{}", terminal ? "\r" : "", flags.model,
                           static_cast<double>(done) / 1e9, static_cast<double>(all) / 1e9, terminal ? "" : "\n")
                   .c_str(),
               stderr);
  };
  std::unique_ptr<Model> model = Model::Load(flags.model, options);
  if (terminal && shown != begin) std::fputc('\n', stderr);
  if (options.comm->rank() > 0) {
    Follow(*model, *options.comm);
    throw FollowerEnded();
  }
  return model;
}

std::vector<TokenId> ParseIds(const std::string& text) {
  std::vector<TokenId> ids;
  const char* at = text.data();
  const char* const end = at + text.size();
  while (at < end) {
    TokenId id = 0;
    const auto [next, error] = std::from_chars(at, end, id);
    if (error != std::errc() || (next < end && *next != ',')) {
      throw UsageError(fmt::format("--ids takes token ids as 1,2,3; '{}' is not one", std::string(at, end)));
    }
    ids.push_back(id);
    at = next < end ? next + 1 : next;
  }
  return ids;
}

int64_t ParseBytes(const std::string& text) {
  int64_t number = 0;
  const auto [next, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const std::string unit(next, text.data() + text.size());
  int shift = -1;
  if (unit.empty() || unit == "B") shift = 0;
  if (unit == "K" || unit == "KB") shift = 10;
  if (unit == "M" || unit == "MB") shift = 20;
  if (unit == "G" || unit == "GB") shift = 30;
  if (unit == "T" || unit == "TB") shift = 40;
  if (error != std::errc() || shift < 0 || number <= 0 || number > (INT64_MAX >> shift)) {
    throw UsageError(fmt::format("'{}' is not a size: write 512M or 8G", text));
  }
  return number << shift;
}

std::string ReadStdin() { return {std::istreambuf_iterator<char>(std::cin), std::istreambuf_iterator<char>()}; }

}  // namespace gannet
