#include "cli/command_line.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <sstream>
#include <utility>

namespace gannet {

Option& Option::Required() {
  option_->required();
  return *this;
}

Option& Option::ShowDefault() {
  option_->capture_default_str();
  return *this;
}

Option& Option::Delimiter(char character) {
  option_->delimiter(character);
  return *this;
}

Option& Option::ShowOneValue() {
  option_->expected(1)->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  return *this;
}

Option& Option::ValueOptional() {
  option_->expected(0, 1);
  return *this;
}

Option& Option::ExistingFile() {
  option_->check(CLI::ExistingFile);
  return *this;
}

Option& Option::Excludes(const Option& other) {
  option_->excludes(other.option_);
  return *this;
}

template <typename T>
Option& Option::Range(T least, T most) {
  option_->check(CLI::Range(least, most));
  return *this;
}
template Option& Option::Range(int, int);
template Option& Option::Range(int64_t, int64_t);
template Option& Option::Range(size_t, size_t);
template Option& Option::Range(double, double);

bool Option::given() const { return !option_->empty(); }

template <typename T>
Option Command::AddOption(const std::string& name, T& value, const std::string& help) {
  return Option(app_->add_option(name, value, help));
}
template Option Command::AddOption(const std::string&, std::string&, const std::string&);
template Option Command::AddOption(const std::string&, std::filesystem::path&, const std::string&);
template Option Command::AddOption(const std::string&, int&, const std::string&);
template Option Command::AddOption(const std::string&, int64_t&, const std::string&);
template Option Command::AddOption(const std::string&, uint16_t&, const std::string&);
template Option Command::AddOption(const std::string&, uint64_t&, const std::string&);
template Option Command::AddOption(const std::string&, float&, const std::string&);
template Option Command::AddOption(const std::string&, double&, const std::string&);
template Option Command::AddOption(const std::string&, std::vector<int>&, const std::string&);
template Option Command::AddOption(const std::string&, std::vector<std::string>&, const std::string&);

void Command::AddFlag(const std::string& name, bool& value, const std::string& help) {
  app_->add_flag(name, value, help);
}

void Command::SetCallback(Callback callback) {
  app_->callback([callback = std::move(callback), chosen = chosen_] { *chosen = callback; });
}

CommandLine::CommandLine(const std::string& name, const std::string& description)
    : app_(std::make_unique<CLI::App>(description, name)) {
  app_->require_subcommand(1);
}

CommandLine::~CommandLine() = default;

Option CommandLine::AddOption(const std::string& name, std::string& value, const std::string& help) {
  return Option(app_->add_option(name, value, help));
}

void CommandLine::AddVersionFlag(const std::string& version) { app_->set_version_flag("--version", version); }

Command CommandLine::AddCommand(const std::string& name, const std::string& help) {
  return Command(app_->add_subcommand(name, help), &chosen_);
}

Command::Callback CommandLine::Parse(std::vector<std::string> arguments) {
  std::ranges::reverse(arguments);  // as CLI11 takes them
  try {
    app_->parse(std::move(arguments));
  } catch (const CLI::ParseError& error) {
    std::ostringstream text;
    const bool mistake = app_->exit(error, text, text) != 0;
    throw NothingToRun(text.str(), mistake);
  }
  return chosen_;
}

}  // namespace gannet
