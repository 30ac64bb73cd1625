#include "cli/quantize.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <memory>
#include <set>

#include "base/cpu_topology.h"
#include "base/mapped_file.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/module_pattern.h"
#include "checkpoint/tensor_plan.h"
#include "cli/common.h"
#include "cli/encoded_writer.h"
#include "cli/write_progress.h"
#include "engine/model_source.h"
#include "models/registry.h"

namespace gannet {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kShardBytes = int64_t{4} << 30;

struct QuantizeFlags {
  std::string model;
  std::string out;
  std::string format = "mxfp4";
  std::string sensitive = "keep";
  std::vector<std::string> exclude;
  bool mtp = false;
  int threads = 0;
};

struct Choice {
  const StoredTensor* tensor;
  const Encoder* encoder;  // null: copied
  FileTensor planned;      // of an encoded one
};

class Chooser {
 public:
  Chooser(const QuantizeFlags& flags, const ModelSpec& spec) : flags_(flags) {
    const std::vector<PlannedTensor> plan = PlanTensors(spec, NameStyle::kHuggingFace);
    const std::vector<FileTensor> tensors = FileTensors(plan);
    encoder_ = EncoderFor(flags.format, tensors);
    if (!encoder_) throw UsageError(fmt::format("--format is {}, but must be {}", flags.format, EncoderNames()));
    if (flags.sensitive != "keep" && flags.sensitive != "int8") {
      throw UsageError(fmt::format("--sensitive is {}, but must be keep or int8", flags.sensitive));
    }
    if (flags.sensitive == "int8" && encoder_->dialect != QuantDialect::kQuark) {
      throw UsageError(fmt::format(
          "--sensitive int8 goes with Quark's formats, mxfp4 and int8; this checkpoint will hold {} and floats alone",
          encoder_->dtype));
    }
    for (const std::string& text : flags.exclude) exclude_.Add(text);
    if (const std::vector<std::string> broken = exclude_.broken(); !broken.empty()) {
      throw UsageError(fmt::format("--exclude {} is no regular expression", broken[0]));
    }
    for (const FileTensor& tensor : tensors) tensors_.emplace(tensor.name, tensor);
    for (const PlannedTensor& planned : plan) {
      if (planned.layer >= std::ssize(spec.layers)) drafts_.insert(planned.name);
    }
  }

  const Encoder& encoder() const { return *encoder_; }

  Choice Of(const StoredTensor& stored) {
    const Choice copied{&stored, nullptr, {}};
    const bool excluded = exclude_.Match(ModuleOf(stored.name));
    const auto found = tensors_.find(stored.name);
    if (found == tensors_.end() || excluded || (drafts_.contains(stored.name) && !flags_.mtp)) return copied;
    const QuantizedPart part = PartOf(found->second.slot);
    const bool sensitive = part == QuantizedPart::kLatent || part == QuantizedPart::kVocabulary;
    if (sensitive && flags_.sensitive == "keep") return copied;
    const Encoder* const encoder = sensitive ? FindEncoder("int8") : encoder_;
    return Takes(*encoder, found->second) ? Choice{&stored, encoder, found->second} : copied;
  }
  void RefuseIdleExcludes() const {
    if (const std::vector<std::string> idle = exclude_.unmatched(); !idle.empty()) {
      throw UsageError(fmt::format("--exclude {} matches no module", idle[0]));
    }
  }

 private:
  const QuantizeFlags& flags_;
  const Encoder* encoder_;
  ModulePatterns exclude_;
  std::map<std::string, FileTensor, std::less<>> tensors_;
  std::set<std::string, std::less<>> drafts_;
};

// The rows of K values that `use` encodes, a chunk at a time, and how many bytes of the file they were.
template <typename Use>
void EachChunk(const Weight& weight, const FileTensor& planned, ThreadPool& pool, Use use) {
  std::vector<float> rows;
  const int64_t n = weight.cols;
  if (!planned.transposed) {
    const int64_t step = EncodedWriter::RowsTogether(n);
    for (int64_t first = 0; first < weight.rows; first += step) {
      const int64_t count = std::min(step, weight.rows - first);
      rows.resize(static_cast<size_t>(count * n));
      pool.ParallelFor(count, [&](int64_t r, int) { weight.dequantize_row(weight, first + r, rows.data() + r * n); });
      use(rows, count * weight.row_bytes);
    }
    return;
  }
  const int64_t k = planned.shape[1];
  std::vector<float> columns(static_cast<size_t>(k * n));
  rows.resize(columns.size());
  constexpr int64_t kTogether = 16;  // floats of a cache line
  for (int64_t first = 0; first < weight.rows; first += k) {
    pool.ParallelFor(k, [&](int64_t c, int) { weight.dequantize_row(weight, first + c, columns.data() + c * n); });
    pool.ParallelFor((n + kTogether - 1) / kTogether, [&](int64_t group, int) {
      const int64_t end = std::min(n, (group + 1) * kTogether);
      for (int64_t c = 0; c < k; ++c) {
        for (int64_t r = group * kTogether; r < end; ++r) {
          rows[static_cast<size_t>(r * k + c)] = columns[static_cast<size_t>(c * n + r)];
        }
      }
    });
    use(rows, k * weight.row_bytes);
  }
}

// Everything beside the weights: tokenizer, templates, generation settings.
void CopyOtherFiles(const fs::path& from, const fs::path& to) {
  for (const auto& entry : fs::directory_iterator(from)) {
    const std::string name = entry.path().filename().string();
    if (!entry.is_regular_file() || name == "config.json" || name.ends_with(".safetensors") ||
        name.ends_with(".safetensors.index.json")) {
      continue;
    }
    fs::copy_file(entry.path(), to / name, fs::copy_options::overwrite_existing);
  }
}

void Quantize(const QuantizeFlags& flags) {
  const std::shared_ptr<const Checkpoint> checkpoint = Checkpoint::Open(flags.model);
  if (checkpoint->is_gguf()) {
    throw UsageError(fmt::format("{} is a GGUF file; quantize takes a folder in Hugging Face layout", flags.model));
  }
  const ResolvedModel model = ResolveModel(SourceOf(*checkpoint, {}));
  Chooser chooser(flags, model.spec);
  ThreadPool pool(flags.threads > 0 ? flags.threads : ThisMachine().cores);
  std::vector<Choice> choices;
  for (const auto& [name, tensor] : checkpoint->tensors()) {
    if (tensor.scales) {
      throw UsageError(
          fmt::format("{} is quantized already ({} is {}); quantize takes floats", flags.model, name, tensor.dtype));
    }
    choices.push_back(chooser.Of(tensor));
  }
  chooser.RefuseIdleExcludes();
  EncodedWriter writer(flags.out, kShardBytes, pool);
  for (const Choice& choice : choices) {
    const StoredTensor& tensor = *choice.tensor;
    if (choice.encoder) {
      writer.DeclareEncoded(tensor.name, MatrixOf(choice.planned), *choice.encoder);
    } else {
      writer.Declare(tensor.name, tensor.dtype, tensor.shape);
    }
  }
  CheckSpace(flags.out, writer.bytes());
  WriteProgress progress(checkpoint->total_bytes(), "read");
  int64_t encoded = 0;
  for (const Choice& choice : choices) {
    const StoredTensor& tensor = *choice.tensor;
    if (!choice.encoder) {
      writer.WriteBytes(tensor.name, tensor.data);
      progress.Add(tensor.bytes());
      continue;
    }
    ++encoded;
    const Weight weight = checkpoint->WeightOf(tensor);
    float largest = 0;
    if (choice.encoder->wants_largest) {
      EachChunk(weight, choice.planned, pool, [&](std::span<const float> rows, int64_t) {
        for (const float value : rows) largest = std::max(largest, std::fabs(value));
      });
    }
    EachChunk(weight, choice.planned, pool, [&](std::span<const float> rows, int64_t bytes) {
      if (!std::ranges::all_of(rows, [](float value) { return std::isfinite(value); })) {
        throw LoadError("quantize", fmt::format("tensor {} holds values that are not finite", tensor.name));
      }
      writer.WriteRows(tensor.name, rows, largest);
      progress.Add(bytes);
    });
    MappedFile::Release(tensor.data);  // so that memory stays bounded
  }
  writer.Finish();
  Json config = checkpoint->config();
  config.Set("quantization_config", writer.QuantizationConfig(chooser.encoder()));
  WriteTextFile(fs::path(flags.out) / "config.json", config.Dump(2) + "\n");
  CopyOtherFiles(flags.model, flags.out);
  std::fputs(fmt::format("{}: {} of {} tensors in {}, {:.2f} GB from {:.2f} GB\n", flags.out, encoded, choices.size(),
                         chooser.encoder().dtype, static_cast<double>(writer.bytes()) / 1e9,
                         static_cast<double>(checkpoint->total_bytes()) / 1e9)
                 .c_str(),
             stderr);
}

}  // namespace

void AddQuantize(CommandLine& command_line) {
  Command command = command_line.AddCommand("quantize", "write a checkpoint of floats anew in a quantized format");
  auto flags = std::make_shared<QuantizeFlags>();
  command.AddOption("MODEL", flags->model, "a folder in Hugging Face layout").Required();
  command.AddOption("--format", flags->format, EncoderNames() + "; awq and gptq by rounding, without samples")
      .ShowDefault();
  command.AddOption(
      "--exclude", flags->exclude,
      "modules that stay as they are: a name, a part of it between dots, a glob, or re:EXPRESSION; may be "
      "given several times");
  command.AddFlag("--mtp", flags->mtp, "quantize draft heads (MTP layers) too");
  command.AddOption("--sensitive", flags->sensitive, "embedding, lm_head and the latent's projections: keep or int8")
      .ShowDefault();
  command.AddOption("--threads", flags->threads, "threads (default: one for each core)").Range(0, 4096);
  command.AddOption("--out", flags->out, "folder to write; it must hold no checkpoint").Required();
  command.SetCallback([flags] {
    Quantize(*flags);
    return 0;
  });
}

}  // namespace gannet
