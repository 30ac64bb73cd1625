// What the commands share: flags of everything that runs a model, user errors, loading with progress.
#pragma once

#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "cli/command_line.h"
#include "engine/engine.h"
#include "engine/model.h"

namespace gannet {

// A rank other than 0 did its work to the end: main exits with 0.
class FollowerEnded : public std::runtime_error {
 public:
  FollowerEnded() : std::runtime_error("the first rank ended") {}
};

// The user's mistake: main prints the sentence and exits with 2.
class UsageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// MODEL and the flags every command that runs a model has.
struct RunFlags {
  std::string model;
  std::string kernels = "auto";
  int threads = 0;
  std::string kv_type = "f32";
  std::vector<std::string> overrides;
  std::string memory_limit;  // "8G", "512M", bytes
  std::string experts = "width";
};
void AddModelArgument(Command& command, std::string& model);
void AddRunFlags(Command& command, RunFlags& flags);

// Loads with progress on stderr when it takes more than a second. `max_step_rows` 0: the default. `drafts`: with
// the draft heads. Under mpirun every rank loads its part; on all but the first this never returns: they follow, then
// throw FollowerEnded.
std::unique_ptr<Model> LoadModel(const RunFlags& flags, int64_t max_step_rows = 0, bool drafts = false);

// The ranks that mpirun started, or this process alone.
std::shared_ptr<Communicator> World();

// "1,2,3" -> ids; throws UsageError.
std::vector<TokenId> ParseIds(const std::string& text);
// {"2:7", "9:12"} -> spans that ascend and do not overlap, of a prompt of `tokens`; throws UsageError.
std::vector<TokenSpan> ParseSpans(const std::vector<std::string>& texts, int64_t tokens);
void AddSpansFlag(Command& command, std::vector<std::string>& texts);
// "f32", "f16", "bf16", "fp8" or "int8"; throws UsageError.
KvType ParseKvType(const std::string& name);
// "8G" -> bytes; throws UsageError.
int64_t ParseBytes(const std::string& text);
// All of stdin.
std::string ReadStdin();
// Throws UsageError when the file cannot be written.
void WriteTextFile(const std::filesystem::path& path, std::string_view text);

// Throws what the error says: UsageError.
template <typename T>
T OrThrow(Result<T> result) {
  if (!result.ok()) throw UsageError(result.error().message);
  return std::move(result).value();
}

}  // namespace gannet
