#include "cli/inspect.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <iterator>
#include <map>
#include <set>

#include "base/cpu_topology.h"
#include "base/mapped_file.h"
#include "checkpoint/bind.h"
#include "checkpoint/tensor_plan.h"
#include "cli/common.h"
#include "engine/model_source.h"
#include "kernels/kernels.h"
#include "kv_cache/kv_plan.h"
#include "layers/plan_text.h"
#include "layers/workspace_plan.h"
#include "models/registry.h"
#include "spec/describe.h"

namespace gannet {
namespace {

namespace fs = std::filesystem;

struct InspectFlags {
  std::string model;
  std::string kernels = "auto";
  std::string kv_type = "f32";
  std::vector<std::string> overrides;
  std::string plans;
  bool json = false;
};

constexpr int64_t kStepRows = 512;

struct DtypeCount {
  int64_t tensors = 0;
  int64_t bytes = 0;
  std::string kernel;  // that serves its smallest matrix; empty without matrices
};

// What was found out; text and JSON are two ways to print it.
struct Findings {
  ResolvedModel model;
  ModelSpec running;  // the same without draft heads: what follows is of it
  NameStyle style = NameStyle::kHuggingFace;
  std::vector<PlannedTensor> plan;
  std::vector<FileTensor> tensors;
  KvPlan kv;
  WorkspacePlan workspace;
  bool has_weights = false;
  std::map<std::string, DtypeCount> dtypes;  // of the file; without one as CountAsConfigured says
  DtypeCount unread;                         // draft heads and the like
  int64_t weight_bytes = 0;
  std::string kernels;  // table

  int64_t parameters() const {
    int64_t sum = 0;
    for (const FileTensor& tensor : tensors) sum += tensor.values();
    return sum;
  }
  // With weights, workspace and the cache of one sequence.
  int64_t bytes_in_all(int64_t tokens) const {
    return weight_bytes + workspace.bytes(kStepRows, 1) + kv.bytes_for(tokens);
  }
  bool loads_here() const { return bytes_in_all(kBlockTokens) <= AvailableMemoryBytes(); }
};

ModelSource SourceOfFile(const fs::path& path, std::vector<std::string> overrides) {
  Result<Json> json = Json::Parse(ReadTextFile(path, size_t{64} << 20));
  if (!json.ok()) throw UsageError(fmt::format("{}: {}", path.string(), json.error().message));
  ModelSource source;
  source.config = std::move(json).value();
  source.dialect = source.config.Find("general.architecture") ? Dialect::kGguf : Dialect::kHuggingFace;
  source.overrides = std::move(overrides);
  return source;
}

void CountDtypes(const Checkpoint& checkpoint, Findings& findings, const std::string& kernel_name) {
  const Kernels* kernels = FindKernels(kernel_name);
  if (!kernels) throw UsageError(fmt::format("--kernels has no table '{}' that this machine runs", kernel_name));
  const BoundTensors bound = Bind(findings.running, findings.plan, checkpoint);
  std::map<std::string, const Weight*> smallest;  // of each dtype
  for (const std::string& notice : bound.notices()) findings.model.notices.push_back(notice);
  std::set<std::string_view> read;
  for (const PlannedTensor& planned : findings.plan) {
    const Weight& weight = bound.Get(planned.layer, planned.slot, planned.index).weight;
    if (read.insert(planned.name).second) {
      const int64_t bytes = checkpoint.Find(planned.name)->bytes();
      DtypeCount& count = findings.dtypes[checkpoint.Find(planned.name)->dtype];
      ++count.tensors;
      count.bytes += bytes;
      findings.weight_bytes += bytes;
    }
    if (IsVector(planned.slot)) continue;
    const Weight*& matrix = smallest.try_emplace(checkpoint.Find(planned.name)->dtype, &weight).first->second;
    if (weight.bytes() < matrix->bytes()) matrix = &weight;
  }
  for (const auto& [name, stored] : checkpoint.tensors()) {
    if (read.contains(name)) continue;
    ++findings.unread.tensors;
    findings.unread.bytes += stored.bytes();
  }
  for (const auto& [dtype, matrix] : smallest) findings.dtypes[dtype].kernel = kernels->pack(*matrix)->kernel();
  findings.kernels = kernels->name;
  findings.has_weights = true;
}

// Without a file: every tensor in the type that the configuration names, bf16 if none.
void CountAsConfigured(const Json& config, Findings& findings) {
  std::string dtype = "bfloat16";
  for (const char* key : {"torch_dtype", "dtype"}) {
    if (const Json* value = config.Find(key); value && value->is_string()) dtype = value->as_string();
  }
  const int64_t size = dtype == "float32" ? 4 : 2;
  DtypeCount& count = findings.dtypes[size == 4 ? "F32" : dtype == "float16" ? "F16" : "BF16"];
  count.tensors = std::ssize(findings.tensors);
  count.bytes = findings.weight_bytes = findings.parameters() * size;
}

Findings Inspect(const InspectFlags& flags) {
  Findings findings;
  const fs::path path = flags.model;
  std::shared_ptr<const Checkpoint> checkpoint;
  ModelSource source;
  if (path.extension() == ".json") {
    source = SourceOfFile(path, flags.overrides);
  } else {
    checkpoint = Checkpoint::Open(path);
    source = SourceOf(*checkpoint, flags.overrides);
  }
  findings.model = ResolveModel(source);
  findings.running = WithoutDrafts(findings.model.spec);
  const ModelSpec& spec = findings.running;
  findings.style = source.dialect == Dialect::kGguf ? NameStyle::kGguf : NameStyle::kHuggingFace;
  findings.plan = PlanTensors(spec, findings.style);
  findings.tensors = FileTensors(findings.plan);
  findings.kv = PlanKv(spec, ParseKvType(flags.kv_type));
  findings.workspace = PlanWorkspace(spec);
  checkpoint ? CountDtypes(*checkpoint, findings, flags.kernels) : CountAsConfigured(source.config, findings);
  return findings;
}

// Contexts worth a line: 1k, 8k and the model's own.
std::vector<int64_t> Contexts(const ModelSpec& spec) {
  std::vector<int64_t> contexts;
  for (const int64_t tokens : {int64_t{1024}, int64_t{8192}, spec.max_positions}) {
    const int64_t most = std::min(tokens, spec.max_positions);
    if (contexts.empty() || contexts.back() < most) contexts.push_back(most);
  }
  return contexts;
}

std::string Megabytes(int64_t bytes) { return fmt::format("{:.1f} MB", static_cast<double>(bytes) / 1e6); }

void PrintText(const Findings& findings) {
  const ModelSpec& spec = findings.model.spec;
  std::string text = fmt::format("architecture {}\n\nSPEC\n{}", findings.model.architecture, Describe(spec));
  text += fmt::format("\nCACHE\n{}", Describe(findings.kv));
  text += fmt::format("\nWORKSPACE\n{}", Describe(findings.workspace));
  text += fmt::format("\nTENSORS\n{} tensors, {} parameters\n", findings.tensors.size(), findings.parameters());
  for (const auto& [dtype, count] : findings.dtypes) {
    text += fmt::format("{}: {} tensors, {}{}{}\n", dtype, count.tensors, Megabytes(count.bytes),
                        findings.has_weights ? "" : ", if all are of this type",
                        count.kernel.empty() ? "" : ", matrices by kernel " + count.kernel);
  }
  if (findings.unread.tensors > 0) {
    text += fmt::format("not read: {} tensors, {}\n", findings.unread.tensors, Megabytes(findings.unread.bytes));
  }
  if (findings.has_weights) text += fmt::format("kernels: table {}\n", findings.kernels);
  text += fmt::format("\nMEMORY of one sequence, steps of {} rows\n", kStepRows);
  for (const int64_t tokens : Contexts(spec)) {
    const int64_t workspace = findings.workspace.bytes(kStepRows, 1);
    const int64_t cache = findings.kv.bytes_for(tokens);
    text +=
        fmt::format("{} tokens: cache {}, workspace {}, weights {}: {} in all\n", tokens, Megabytes(cache),
                    Megabytes(workspace), Megabytes(findings.weight_bytes), Megabytes(findings.bytes_in_all(tokens)));
  }
  const int64_t available = AvailableMemoryBytes();
  const int64_t least = findings.bytes_in_all(kBlockTokens);
  text += findings.loads_here()
              ? fmt::format("loads here: this machine has {} available\n", Megabytes(available))
              : fmt::format("does not load here: it needs at least {}, and this machine has {} available\n",
                            Megabytes(least), Megabytes(available));
  text += "\nASSUMED\n";
  for (const std::string& notice : findings.model.notices) text += notice + "\n";
  text += "\nKEYS THAT DO NOT CHANGE THE MATHS\n";
  for (const std::string& key : findings.model.ignored) text += key + "\n";
  std::fputs(text.c_str(), stdout);
}

Json SpecJson(const ModelSpec& spec) {
  Json json;
  json.Set("hidden", spec.hidden);
  json.Set("vocab", spec.vocab);
  json.Set("max_positions", spec.max_positions);
  json.Set("final_norm_epsilon", spec.final_norm.epsilon);
  json.Set("tied_embeddings", spec.tied_embeddings);
  json.Set("layer_count", static_cast<int64_t>(spec.layers.size()));
  Json layers(Json::Array{});
  for (const LayerRun& run : LayerRuns(spec)) {
    Json layer;
    layer.Set("first", run.first);
    layer.Set("last", run.last);
    for (const auto& [part, words] : run.parts) layer.Set(part, words);
    layers.Append(std::move(layer));
  }
  json.Set("layers", std::move(layers));
  Json drafts(Json::Array{});
  for (const DraftHead& head : spec.drafts) {
    Json one;
    for (const auto& [part, words] : DescribeDraft(head)) one.Set(part, words);
    drafts.Append(std::move(one));
  }
  json.Set("drafts", std::move(drafts));
  return json;
}

void PrintJson(const Findings& findings) {
  Json json;
  json.Set("architecture", findings.model.architecture);
  json.Set("spec", SpecJson(findings.model.spec));
  Json groups(Json::Array{});
  for (const KvGroup& group : findings.kv.groups) {
    Json one;
    Json layers(Json::Array{});
    for (const int layer : group.layers) layers.Append(layer);
    one.Set("layers", std::move(layers));
    one.Set("kv_heads", group.layout.kv_heads);
    one.Set("key_dim", group.layout.key_dim);
    one.Set("value_dim", group.layout.value_dim);
    one.Set("window", group.window ? Json(*group.window) : Json());
    one.Set("block_bytes", group.block_bytes());
    groups.Append(std::move(one));
  }
  Json cache;
  cache.Set("bytes_per_token", findings.kv.bytes_per_token());
  cache.Set("groups", std::move(groups));
  json.Set("cache", std::move(cache));
  Json dtypes(Json::Array{});
  for (const auto& [dtype, count] : findings.dtypes) {
    Json one;
    one.Set("dtype", dtype);
    one.Set("tensors", count.tensors);
    one.Set("bytes", count.bytes);
    one.Set("kernel", count.kernel.empty() ? Json() : Json(count.kernel));
    dtypes.Append(std::move(one));
  }
  json.Set("dtypes", std::move(dtypes));
  json.Set("kernels", findings.has_weights ? Json(findings.kernels) : Json());
  Json available(Json::Array{});
  for (const Kernels* kernels : AvailableKernels()) available.Append(kernels->name);
  json.Set("available_kernels", std::move(available));
  json.Set("tensors", std::ssize(findings.tensors));
  json.Set("parameters", findings.parameters());
  json.Set("draft_heads", std::ssize(findings.model.spec.drafts));
  json.Set("unread_tensors", findings.unread.tensors);
  json.Set("unread_bytes", findings.unread.bytes);
  json.Set("weight_bytes", findings.weight_bytes);
  json.Set("available_bytes", AvailableMemoryBytes());
  json.Set("loads_here", findings.loads_here());
  Json memory(Json::Array{});
  for (const int64_t tokens : Contexts(findings.model.spec)) {
    Json one;
    one.Set("tokens", tokens);
    one.Set("cache_bytes", findings.kv.bytes_for(tokens));
    one.Set("workspace_bytes", findings.workspace.bytes(kStepRows, 1));
    memory.Append(std::move(one));
  }
  json.Set("memory", std::move(memory));
  Json notices(Json::Array{});
  for (const std::string& notice : findings.model.notices) notices.Append(notice);
  json.Set("assumed", std::move(notices));
  Json ignored(Json::Array{});
  for (const std::string& key : findings.model.ignored) ignored.Append(key);
  json.Set("ignored", std::move(ignored));
  std::fputs((json.Dump(2) + "\n").c_str(), stdout);
}

void WritePlans(const Findings& findings, const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) throw UsageError(fmt::format("cannot make the folder {}: {}", folder.string(), error.message()));
  const PlanTexts plans = DescribePlans(findings.model.spec, findings.style);
  WriteTextFile(folder / "spec.txt", plans.spec);
  WriteTextFile(folder / "kv.txt", plans.kv);
  WriteTextFile(folder / "tensors.txt", plans.tensors);
  WriteTextFile(folder / "shards.txt", plans.shards);
}

}  // namespace

void AddInspect(CommandLine& command_line) {
  Command command = command_line.AddCommand("inspect", "what a model is: spec, dtypes, kernels, memory, ignored keys");
  auto flags = std::make_shared<InspectFlags>();
  command.AddOption("MODEL", flags->model, "a folder in Hugging Face layout, a .gguf file, or a config.json")
      .Required();
  command.AddFlag("--json", flags->json, "print JSON");
  command.AddOption("--kernels", flags->kernels, "the table of kernels to ask").ShowDefault();
  command.AddOption("--kv-type", flags->kv_type, "type of the cache: f32, f16, bf16, fp8 or int8").ShowDefault();
  command.AddOption("--config-override", flags->overrides, "KEY=VALUE, read in place of the model's own key")
      .ShowOneValue();
  command.AddOption("--plans", flags->plans, "also write spec.txt, kv.txt, tensors.txt and shards.txt to this folder");
  command.SetCallback([flags] {
    const Findings findings = Inspect(*flags);
    if (!flags->plans.empty()) WritePlans(findings, flags->plans);
    if (flags->json) {
      PrintJson(findings);
    } else {
      PrintText(findings);
    }
    return 0;
  });
}

}  // namespace gannet
