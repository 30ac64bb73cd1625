#include <csignal>
#include <cstdio>
#include <exception>
#include <string>

#include "base/log.h"
#include "base/result.h"
#include "cli/bench.h"
#include "cli/chat.h"
#include "cli/command_line.h"
#include "cli/common.h"
#include "cli/complete.h"
#include "cli/inspect.h"
#include "cli/logits.h"
#include "cli/quantize.h"
#include "cli/render.h"
#include "cli/serve.h"
#include "cli/synth.h"
#include "cli/tokenize.h"

// Exit codes: 0 done, 1 failed while running, 2 the user's mistake.
int main(int argc, char** argv) {
  gannet::CommandLine command_line("gannet",
                                   "gannet serves large mixture-of-experts language models on the machine you have.");
  std::string log_level = "info";
  command_line.AddOption("--log", log_level, "trace, debug, info, warning, error or off").ShowDefault();
  command_line.AddVersionFlag("gannet " GANNET_VERSION);
  gannet::AddServe(command_line);
  gannet::AddChat(command_line);
  gannet::AddComplete(command_line);
  gannet::AddLogits(command_line);
  gannet::AddTokenize(command_line);
  gannet::AddRender(command_line);
  gannet::AddInspect(command_line);
  gannet::AddSynth(command_line);
  gannet::AddQuantize(command_line);
  gannet::AddBench(command_line);
  std::signal(SIGPIPE, SIG_IGN);
  // Of several ranks the first speaks for all, unless one fails while the others run: then it ends them with a
  // sentence.
  const auto say = [](const char* what) {
    if (!gannet::IsFollower()) std::fprintf(stderr, "gannet: %s\n", what);
  };
  try {
    const gannet::Command::Callback run = command_line.Parse({argv + 1, argv + argc});
    if (gannet::IsFollower() && log_level == "info") log_level = "warning";  // the first rank says the same
    if (!gannet::SetLogLevel(log_level.c_str())) throw gannet::UsageError("--log has no level '" + log_level + "'");
    return run();
  } catch (const gannet::NothingToRun& end) {
    if (!gannet::IsFollower()) std::fputs(end.what(), end.mistake() ? stderr : stdout);
    return end.mistake() ? 2 : 0;
  } catch (const gannet::FollowerEnded&) {
    return 0;
  } catch (const gannet::PeerFailed&) {
    return 2;
  } catch (const gannet::UsageError& error) {
    say(error.what());
    return 2;
  } catch (const gannet::LoadError& error) {
    std::fprintf(stderr, "gannet: %s\n", error.what());
    return 2;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "gannet: failed: %s\n", error.what());
    if (gannet::World()->ranks() > 1) gannet::World()->Abort(1);
    return 1;
  }
}
