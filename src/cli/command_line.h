// The command line: global options, then one command with its options. A thin layer over CLI11, whose header takes a
// compiler 10 to 50 seconds: command_line.cc alone includes it.
#pragma once

#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace gannet {

// No command is to run: the arguments are wrong, or --help or --version asked for text. what() is all that is to be
// printed, line ends included: to stderr after a mistake, otherwise to stdout.
class NothingToRun : public std::runtime_error {
 public:
  NothingToRun(const std::string& text, bool mistake) : std::runtime_error(text), mistake_(mistake) {}
  bool mistake() const { return mistake_; }

 private:
  bool mistake_;
};

// Option, Command: handles, valid as long as their CommandLine. An option of a vector takes all values that follow, but
// for those that positional arguments need; given again, it adds to them.

class Option {
 public:
  explicit Option(CLI::Option* option) : option_(option) {}

  Option& Required();
  Option& ShowDefault();              // --help shows the value the variable has now
  Option& Delimiter(char character);  // of a vector: one argument may hold several values, as "1,4,16"
  Option& ShowOneValue();             // of a vector: --help shows "TEXT", not "TEXT ..."
  Option& ValueOptional();            // given without a value: 0 or empty
  Option& ExistingFile();
  Option& Excludes(const Option& other);
  // The value lies in [least, most]. T is int, int64_t, size_t or double.
  template <typename T>
  Option& Range(T least, T most);

  bool given() const;  // after Parse

 private:
  CLI::Option* option_;
};

class Command {
 public:
  using Callback = std::function<int()>;  // returns the exit code

  Command(CLI::App* app, Callback* chosen) : app_(app), chosen_(chosen) {}

  // `name` is "--name", or "NAME" for a positional argument. Parse writes `value`, or leaves it, the default. T is
  // std::string, std::filesystem::path, int, int64_t, uint16_t, uint64_t, float, double, or a vector of int or
  // std::string; another T does not link.
  template <typename T>
  Option AddOption(const std::string& name, T& value, const std::string& help);
  void AddFlag(const std::string& name, bool& value, const std::string& help);
  void SetCallback(Callback callback);

 private:
  CLI::App* app_;
  Callback* chosen_;
};

class CommandLine {
 public:
  CommandLine(const std::string& name, const std::string& description);
  ~CommandLine();
  CommandLine(const CommandLine&) = delete;
  CommandLine& operator=(const CommandLine&) = delete;

  Option AddOption(const std::string& name, std::string& value, const std::string& help);  // global
  void AddVersionFlag(const std::string& version);                                         // --version prints it
  Command AddCommand(const std::string& name, const std::string& help);

  // Writes the options' values and returns the command's callback, to be called while this lives. `arguments`: without
  // the program's name. Throws NothingToRun.
  Command::Callback Parse(std::vector<std::string> arguments);

 private:
  std::unique_ptr<CLI::App> app_;
  Command::Callback chosen_;
};

}  // namespace gannet
