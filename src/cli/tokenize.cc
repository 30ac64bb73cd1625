#include "cli/tokenize.h"

#include <cstdio>
#include <memory>

#include "base/json.h"
#include "cli/common.h"
#include "server/text_model.h"

namespace gannet {
namespace {

struct TokenizeFlags {
  std::string model;
  bool decode = false;
  bool no_special = false;
  bool lines = false;
};

std::string EncodeToJson(const Tokenizer& tokenizer, std::string_view text, bool add_special) {
  Json::Array ids;
  for (const TokenId id : tokenizer.Encode(text, {.add_special = add_special})) ids.emplace_back(id);
  return Json(std::move(ids)).Dump();
}

std::vector<TokenId> IdsOf(const Json& json, int64_t vocab) {
  if (!json.is_array()) throw UsageError("--decode reads a JSON list of token ids on stdin, as [1,2,3]");
  std::vector<TokenId> ids;
  for (const Json& item : json.as_array()) {
    const std::optional<int64_t> id = item.is_number() ? item.as_int() : std::nullopt;
    if (!id || *id < 0 || *id >= vocab) {
      throw UsageError("'" + item.Dump() + "' is no token id of this model");
    }
    ids.push_back(static_cast<TokenId>(*id));
  }
  return ids;
}

int Tokenize(const TokenizeFlags& flags) {
  const std::shared_ptr<const TextModel> text = TextModel::Load(flags.model);
  const std::string input = ReadStdin();
  std::string output;
  if (flags.decode) {
    const Json json = OrThrow(Json::Parse(input));
    output = text->tokenizer->Decode(IdsOf(json, text->tokenizer->vocab_size()));
  } else if (flags.lines) {
    for (size_t begin = 0; begin < input.size();) {
      const size_t end = std::min(input.find('\n', begin), input.size());
      const std::string_view line = std::string_view(input).substr(begin, end - begin);
      output += EncodeToJson(*text->tokenizer, line, !flags.no_special) + "\n";
      begin = end + 1;
    }
  } else {
    output = EncodeToJson(*text->tokenizer, input, !flags.no_special) + "\n";
  }
  std::fwrite(output.data(), 1, output.size(), stdout);
  return std::fflush(stdout) == 0 ? 0 : 1;
}

}  // namespace

void AddTokenize(CommandLine& command_line) {
  Command command = command_line.AddCommand("tokenize", "text on stdin to a JSON list of token ids, or back");
  auto flags = std::make_shared<TokenizeFlags>();
  AddModelArgument(command, flags->model);
  command.AddFlag("--decode", flags->decode, "a JSON list of ids on stdin to text");
  command.AddFlag("--no-special", flags->no_special, "add no begin or end tokens");
  command.AddFlag("--lines", flags->lines, "one list for each line of stdin");
  command.SetCallback([flags] { return Tokenize(*flags); });
}

}  // namespace gannet
