// A random checkpoint of any configuration: the right shapes at the right size, for tests and for measuring speed.
#include "cli/synth.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
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
#include "checkpoint/tensor_plan.h"
#include "cli/common.h"
#include "cli/encoded_writer.h"
#include "cli/synth_tokenizer.h"
#include "cli/write_progress.h"
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

std::string FormatNames() { return "bf16, f16, f32, " + EncoderNames(); }

// The float format of `name`; of a quantized format, which `encoder` then is, that of what stays plain.
const FormatName& ParseFormat(const std::string& name, const Encoder*& encoder) {
  for (const FormatName& format : kFormats) {
    if (format.flag == name) return format;
  }
  encoder = FindEncoder(name);
  if (encoder) return kFormats[0];
  throw UsageError(fmt::format("--format is {}, but must be {}", name, FormatNames()));
}

// What a tensor is written with; null: plainly. 4 bits are too few for embedding, lm_head and the latent's projections,
// for which Quark has 8 beside them; published checkpoints of the other dialects keep the first two plain.
const Encoder* EncoderOf(const FileTensor& tensor, const Encoder* encoder) {
  if (!encoder) return nullptr;
  const QuantizedPart part = PartOf(tensor.slot);
  if (encoder->dialect == QuantDialect::kQuark) {
    const Encoder* const used =
        part == QuantizedPart::kProjection && Takes(*encoder, tensor) ? encoder : FindEncoder("int8");
    return Takes(*used, tensor) ? used : nullptr;
  }
  return part != QuantizedPart::kVocabulary && Takes(*encoder, tensor) ? encoder : nullptr;
}

constexpr FormatName kExact = kFormats[2];

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

  // The largest of them.
  float Largest(double deviation) const { return static_cast<float>(deviation) * table_.back(); }

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

void Synth(const SynthFlags& flags) {
  const Encoder* encoder = nullptr;
  const FormatName& format = ParseFormat(flags.format, encoder);
  ModelSource source;
  std::string config = ReadConfig(flags, source);
  const ResolvedModel model = ResolveModel(source);
  const std::vector<FileTensor> plan = FileTensors(PlanTensors(model.spec, NameStyle::kHuggingFace));
  if (encoder) encoder = EncoderFor(flags.format, plan);
  int64_t most = 0;
  for (const FileTensor& tensor : plan) {
    int64_t bytes = 0;
    if (__builtin_mul_overflow(tensor.values(), format.bytes, &bytes) || __builtin_add_overflow(most, bytes, &most)) {
      throw UsageError(fmt::format("{} describes more bytes than can be counted", flags.config));
    }
  }
  if (!encoder) CheckSpace(flags.out, most);

  ThreadPool pool(flags.threads > 0 ? flags.threads : ThisMachine().cores);
  EncodedWriter writer(flags.out, kShardBytes, pool);
  for (const FileTensor& tensor : plan) {
    if (const Encoder* used = EncoderOf(tensor, encoder)) {
      writer.DeclareEncoded(tensor.name, MatrixOf(tensor), *used);
    } else {
      writer.Declare(tensor.name, format.dtype, tensor.shape);
    }
  }
  const int64_t total = writer.bytes();
  CheckSpace(flags.out, total);
  const Generator plain(flags.seed, format);
  const Generator exact(flags.seed, kExact);
  WriteProgress progress(total, "writing");
  std::vector<std::byte> chunk;
  for (size_t index = 0; index < plan.size(); ++index) {
    const FileTensor& tensor = plan[index];
    const bool norm = IsNorm(tensor.slot);
    const int64_t values = tensor.values();
    const bool encoded = EncoderOf(tensor, encoder) != nullptr;
    const Generator& generator = encoded ? exact : plain;
    const int64_t size = encoded ? kExact.bytes : format.bytes;
    const int64_t k = MatrixOf(tensor).back();
    const int64_t step = encoded ? EncodedWriter::RowsTogether(k) * k : kChunkValues;
    for (int64_t begin = 0; begin < values; begin += step) {
      const int64_t count = std::min(step, values - begin);
      chunk.resize(static_cast<size_t>(count * size));
      pool.ParallelFor((count + kTaskValues - 1) / kTaskValues, [&](int64_t task, int) {
        const int64_t first = task * kTaskValues;
        generator.Make(static_cast<uint32_t>(index), norm && !model.spec.final_norm.unit_offset ? 1 : 0,
                       norm ? kNormDeviation : kDeviation, begin + first, std::min(kTaskValues, count - first),
                       chunk.data() + first * size);
      });
      if (encoded) {
        progress.Add(writer.WriteRows(tensor.name,
                                      {reinterpret_cast<const float*>(chunk.data()), static_cast<size_t>(count)},
                                      generator.Largest(kDeviation)));
      } else {
        writer.WriteBytes(tensor.name, chunk);
        progress.Add(count * size);
      }
    }
  }
  writer.Finish();
  if (encoder) {
    source.config.Set("quantization_config", writer.QuantizationConfig(*encoder));
    config = source.config.Dump(2) + "\n";
  }
  WriteTextFile(fs::path(flags.out) / "config.json", config);
  const bool text = WriteByteTokenizer(flags.out, model.spec.vocab);
  std::fputs(fmt::format("{}: {} tensors, {:.2f} GB of {}, {} tokenizer\n", flags.out, plan.size(),
                         static_cast<double>(total) / 1e9, flags.format, text ? "a byte" : "no")
                 .c_str(),
             stderr);
}

}  // namespace

void AddSynth(CommandLine& command_line) {
  Command command = command_line.AddCommand("synth", "write a random checkpoint of any configuration");
  auto flags = std::make_shared<SynthFlags>();
  command.AddOption("CONFIG", flags->config, "a config.json").Required().ExistingFile();
  command.AddOption("--format", flags->format, FormatNames()).ShowDefault();
  command.AddOption("--seed", flags->seed, "same seed, same bytes").ShowDefault();
  command.AddOption("--threads", flags->threads, "threads (default: one for each core)").Range(0, 4096);
  command.AddOption("--out", flags->out, "folder to write; it must hold no checkpoint").Required();
  command.SetCallback([flags] {
    Synth(*flags);
    return 0;
  });
}

}  // namespace gannet
