#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <exception>

#include "base/log.h"
#include "base/result.h"
#include "cli/bench.h"
#include "cli/chat.h"
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
  CLI::App app{"gannet serves large mixture-of-experts language models on the machine you have.", "gannet"};
  app.require_subcommand(1);
  std::string log_level = "info";
  app.add_option("--log", log_level, "trace, debug, info, warning, error or off")->capture_default_str();
  app.parse_complete_callback([&] {
    if (gannet::IsFollower() && log_level == "info") log_level = "warning";  // the first rank says the same
    if (!gannet::SetLogLevel(log_level.c_str())) throw gannet::UsageError("--log has no level '" + log_level + "'");
  });
  app.set_version_flag("--version", "gannet " GANNET_VERSION);
  int exit_code = 0;
  gannet::AddServe(app, exit_code);
  gannet::AddChat(app, exit_code);
  gannet::AddComplete(app, exit_code);
  gannet::AddLogits(app, exit_code);
  gannet::AddTokenize(app, exit_code);
  gannet::AddRender(app, exit_code);
  gannet::AddInspect(app, exit_code);
  gannet::AddSynth(app, exit_code);
  gannet::AddQuantize(app, exit_code);
  gannet::AddBench(app, exit_code);
  std::signal(SIGPIPE, SIG_IGN);
  // Of several ranks the first speaks for all, unless one fails while the others run: then it ends them with a
  // sentence.
  const auto say = [](const char* what) {
    if (!gannet::IsFollower()) std::fprintf(stderr, "gannet: %s\n", what);
  };
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (gannet::IsFollower()) return error.get_exit_code() == 0 ? 0 : 2;
    return app.exit(error) == 0 ? 0 : 2;
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
  return exit_code;
}
