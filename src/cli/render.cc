#include "cli/render.h"

#include <cstdio>
#include <memory>

#include "base/json.h"
#include "cli/common.h"
#include "server/text_model.h"

namespace gannet {
namespace {

int Render(const std::string& model) {
  const std::shared_ptr<const TextModel> text = TextModel::Load(model);
  const Json request = OrThrow(Json::Parse(ReadStdin()));
  const std::string prompt = OrThrow(RenderChat(*text, request));
  std::fwrite(prompt.data(), 1, prompt.size(), stdout);
  return std::fflush(stdout) == 0 ? 0 : 1;
}

}  // namespace

void AddRender(CommandLine& command_line) {
  Command command = command_line.AddCommand(
      "render", "chat JSON on stdin ({\"messages\": [...], \"tools\": [...]}) to the prompt's text");
  auto model = std::make_shared<std::string>();
  AddModelArgument(command, *model);
  command.SetCallback([model] { return Render(*model); });
}

}  // namespace gannet
