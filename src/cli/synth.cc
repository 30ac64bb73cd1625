// A random checkpoint of any configuration: the right shapes at the right size, for tests and for measuring speed.
#include "cli/synth.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <numbers>

#include "base/cpu_topology.h"
#include "base/dtype.h"
#include "base/mapped_file.h"
#include "base/philox.h"
#include "base/thread_pool.h"
#include "checkpoint/safetensors_writer.h"
#include "checkpoint/tensor_plan.h"
#include "cli/common.h"
#include "cli/synth_tokenizer.h"
#include "models/registry.h"

namespace gannet {
namespace {

namespace fs = std::filesystem;

constexpr double kDeviation = 0.02;     // of matrices and biases
constexpr double kNormDeviation = 0.1;  // of norms around 1
constexpr int64_t kShardBytes = int64_t{4} << 30;
constexpr int64_t kChunkValues = int64_t{16} << 20;  // made and written at once
constexpr int64_t kTaskValues = int64_t{64} << 10;   // made by one task; a multiple of 8

struct SynthFlags {
  std::string config;
  std::string format = "bf16";
  std::string out;
  uint64_t seed = 0;
  int threads = 0;
};

// The standard normal's quantiles at (i + 1/2) / 65536: 16 random bits become one value by a look-up.
std::vector<float> NormalTable() {
  std::vector<float> table(65536);
  for (size_t i = 0; i < 32768; ++i) {
    const double target = (static_cast<double>(i) + 0.5) / 65536;
    double low = -6, high = 0;
    for (int step = 0; step < 60; ++step) {
      const double middle = (low + high) / 2;
      (0.5 * std::erfc(-middle / std::numbers::sqrt2) < target ? low : high) = middle;
    }
    table[i] = static_cast<float>(low);
    table[65535 - i] = -static_cast<float>(low);
  }
  return table;
}

enum class FloatFormat { kF32, kF16, kBF16 };
struct FormatName {
  std::string_view flag;
  std::string_view dtype;
  FloatFormat format;
  int64_t bytes;
};
constexpr FormatName kFormats[] = {{"bf16", "BF16", FloatFormat::kBF16, 2},
                                   {"f16", "F16", FloatFormat::kF16, 2},
                                   {"f32", "F32", FloatFormat::kF32, 4}};

const FormatName& ParseFormat(const std::string& name) {
  for (const FormatName& format : kFormats) {
    if (format.flag == name) return format;
  }
  throw UsageError(fmt::format("--format is {}, but must be bf16, f16 or f32", name));
}

void Store(float value, FloatFormat format, std::byte* out) {
  if (format == FloatFormat::kF32) {
    std::memcpy(out, &value, sizeof(value));
    return;
  }
  const uint16_t bits = format == FloatFormat::kF16 ? FloatToF16(value) : FloatToBF16(value);
  std::memcpy(out, &bits, sizeof(bits));
}

class Generator {
 public:
  Generator(uint64_t seed, const FormatName& format) : seed_(seed), format_(format), table_(NormalTable()) {}

  // Values [begin, begin + count) of tensor number `tensor`, begin a multiple of 8: a pure function of seed, tensor and
  // place, whatever the threads.
  void Make(uint32_t tensor, double mean, double deviation, int64_t begin, int64_t count, std::byte* out) const {
    const auto scale = static_cast<float>(deviation);
    const auto shift = static_cast<float>(mean);
    for (int64_t i = 0; i < count; i += 8) {
      const auto block = static_cast<uint64_t>((begin + i) / 8);
      const std::array<uint32_t, 4> bits =
          Philox(seed_, {static_cast<uint32_t>(block), static_cast<uint32_t>(block >> 32), tensor, 0});
      for (int64_t j = 0; j < std::min<int64_t>(8, count - i); ++j) {
        const uint32_t half = (bits[static_cast<size_t>(j / 2)] >> (16 * (j % 2))) & 0xffffu;
        Store(shift + scale * table_[half], format_.format, out + (i + j) * format_.bytes);
      }
    }
  }

 private:
  uint64_t seed_;
  const FormatName& format_;
  std::vector<float> table_;
};

class Progress {
 public:
  explicit Progress(int64_t total) : total_(total), terminal_(isatty(STDERR_FILENO) != 0) {}
  void Add(int64_t bytes) {
    done_ += bytes;
    const auto now = std::chrono::steady_clock::now();
    if (now - shown_ < std::chrono::seconds(terminal_ ? 1 : 5)) return;
    shown_ = now;
    std::fputs(fmt::format("{}writing: {:.1f} of {:.1f} GB{}", terminal_ ? "\r" : "", static_cast<double>(done_) / 1e9,
                           static_cast<double>(total_) / 1e9, terminal_ ? "" : "\n")
                   .c_str(),
               stderr);
  }

 private:
  int64_t total_;
  int64_t done_ = 0;
  bool terminal_;
  std::chrono::steady_clock::time_point shown_ = std::chrono::steady_clock::now();
};

// The text of the configuration, parsed into `source`.
std::string ReadConfig(const SynthFlags& flags, ModelSource& source) {
  std::string text = ReadTextFile(flags.config, size_t{64} << 20);
  Result<Json> json = Json::Parse(text);
  if (!json.ok()) throw UsageError(fmt::format("{}: {}", flags.config, json.error().message));
  source.config = std::move(json).value();
  if (source.config.Find("general.architecture")) {
    throw UsageError(
        fmt::format("{} is the metadata of a GGUF file; synth needs a Hugging Face config.json", flags.config));
  }
  return text;
}

void CheckSpace(const fs::path& folder, int64_t bytes) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) throw UsageError(fmt::format("cannot make the folder {}: {}", folder.string(), error.message()));
  const fs::space_info space = fs::space(folder, error);
  if (!error && space.available < static_cast<uintmax_t>(bytes) + (uintmax_t{16} << 20)) {
    throw UsageError(fmt::format("{} needs {:.1f} GB, but its disk has {:.1f} GB free", folder.string(),
                                 static_cast<double>(bytes) / 1e9, static_cast<double>(space.available) / 1e9));
  }
}

void Synth(const SynthFlags& flags) {
  const FormatName& format = ParseFormat(flags.format);
  ModelSource source;
  const std::string config = ReadConfig(flags, source);
  const ResolvedModel model = ResolveModel(source);
  const std::vector<FileTensor> plan = FileTensors(PlanTensors(model.spec, NameStyle::kHuggingFace));
  int64_t total = 0;
  for (const FileTensor& tensor : plan) {
    int64_t bytes = 0;
    if (__builtin_mul_overflow(tensor.values(), format.bytes, &bytes) || __builtin_add_overflow(total, bytes, &total)) {
      throw UsageError(fmt::format("{} describes more bytes than can be counted", flags.config));
    }
  }
  CheckSpace(flags.out, total);

  SafetensorsWriter writer(flags.out, kShardBytes);
  for (const FileTensor& tensor : plan) {
    writer.Declare(tensor.name, format.dtype, tensor.shape);
  }
  const Generator generator(flags.seed, format);
  ThreadPool pool(flags.threads > 0 ? flags.threads : ThisMachine().cores);
  Progress progress(total);
  std::vector<std::byte> chunk;
  for (size_t index = 0; index < plan.size(); ++index) {
    const FileTensor& tensor = plan[index];
    const bool norm = IsNorm(tensor.slot);
    const int64_t values = tensor.values();
    for (int64_t begin = 0; begin < values; begin += kChunkValues) {
      const int64_t count = std::min(kChunkValues, values - begin);
      chunk.resize(static_cast<size_t>(count * format.bytes));
      pool.ParallelFor((count + kTaskValues - 1) / kTaskValues, [&](int64_t task, int) {
        const int64_t first = task * kTaskValues;
        generator.Make(static_cast<uint32_t>(index), norm && !model.spec.final_norm.unit_offset ? 1 : 0,
                       norm ? kNormDeviation : kDeviation, begin + first, std::min(kTaskValues, count - first),
                       chunk.data() + first * format.bytes);
      });
      writer.Write(tensor.name, chunk);
      progress.Add(count * format.bytes);
    }
  }
  writer.Finish();
  WriteTextFile(fs::path(flags.out) / "config.json", config);
  const bool text = WriteByteTokenizer(flags.out, model.spec.vocab);
  std::fputs(fmt::format("{}: {} tensors, {:.2f} GB of {}, {} tokenizer\n", flags.out, plan.size(),
                         static_cast<double>(total) / 1e9, format.flag, text ? "a byte" : "no")
                 .c_str(),
             stderr);
}

}  // namespace

void AddSynth(CLI::App& app, int& exit_code) {
  CLI::App* command = app.add_subcommand("synth", "write a random checkpoint of any configuration");
  auto flags = std::make_shared<SynthFlags>();
  command->add_option("CONFIG", flags->config, "a config.json")->required()->check(CLI::ExistingFile);
  command->add_option("--format", flags->format, "bf16, f16 or f32")->capture_default_str();
  command->add_option("--seed", flags->seed, "same seed, same bytes")->capture_default_str();
  command->add_option("--threads", flags->threads, "threads (default: one for each core)")->check(CLI::Range(0, 4096));
  command->add_option("--out", flags->out, "folder to write; it must hold no checkpoint")->required();
  command->callback([flags, &exit_code] {
    Synth(*flags);
    exit_code = 0;
  });
}

}  // namespace gannet
