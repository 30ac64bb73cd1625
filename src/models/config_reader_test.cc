#include "models/config_reader.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "base/result.h"

namespace gannet {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

Json Parse(std::string_view text) {
  Result<Json> json = Json::Parse(text);
  EXPECT_TRUE(json.ok());
  return std::move(json).value();
}

std::string FailureOf(const std::function<void()>& body) {
  try {
    body();
  } catch (const LoadError& error) {
    return error.what();
  }
  return "no failure";
}

TEST(ConfigReader, ReadsWhatIsThere) {
  const Json config =
      Parse(R"({"i": 3, "whole": 4.0, "d": 2, "b": true, "s": "x", "l": ["a", "b"], "n": null, "o": {"k": 5}})");
  ConfigNotes notes;
  ConfigReader reader(config, "config.json", notes);
  EXPECT_EQ(reader.Required<int64_t>("i"), 3);
  EXPECT_EQ(reader.Required<int64_t>("whole"), 4);
  EXPECT_EQ(reader.Required<double>("d"), 2.0);
  EXPECT_TRUE(reader.Required<bool>("b"));
  EXPECT_EQ(reader.Required<std::string>("s"), "x");
  EXPECT_THAT(reader.Required<std::vector<std::string>>("l"), ElementsAre("a", "b"));
  EXPECT_EQ(reader.Optional<int64_t>("n", 7), 7);
  EXPECT_EQ(reader.Optional<int64_t>("absent", 8), 8);
  ASSERT_NE(reader.Nested("o"), nullptr);
  EXPECT_EQ(reader.Nested("o")->Required<int64_t>("k"), 5);
  EXPECT_EQ(reader.Nested("none"), nullptr);
  reader.Finish();
  EXPECT_TRUE(notes.ignored.empty());
}

TEST(ConfigReader, FinishNamesEveryUnreadKeyWithItsPath) {
  const Json config = Parse(R"({"read": 1, "left": 2, "o": {"k": 1, "inner": {"deep": true}}, "gone": null})");
  ConfigNotes notes;
  ConfigReader reader(config, "config.json", notes);
  reader.Required<int64_t>("read");
  reader.Nested("o")->Required<int64_t>("k");
  reader.Nested("o")->Nested("inner");
  const std::string failure = FailureOf([&] { reader.Finish(); });
  EXPECT_THAT(failure, HasSubstr("models: config.json: "));
  EXPECT_THAT(failure, HasSubstr("'left' (2)"));
  EXPECT_THAT(failure, HasSubstr("'o.inner.deep' (true)"));
  EXPECT_THAT(failure, HasSubstr("could change the maths"));
  EXPECT_THAT(failure, testing::Not(HasSubstr("'read'")));
  EXPECT_THAT(notes.ignored, ElementsAre("gone: null"));
}

TEST(ConfigReader, IgnoredKeysCarryTheirReason) {
  const Json config = Parse(R"({"a": 1, "p.x": 2, "p.y": 3})");
  ConfigNotes notes;
  ConfigReader reader(config, "config.json", notes);
  reader.Ignore({"a", "absent"}, "no matter");
  reader.IgnorePrefix("p.", "elsewhere");
  reader.Finish();
  EXPECT_THAT(notes.ignored, ElementsAre("a: no matter", "p.x: elsewhere", "p.y: elsewhere"));
}

TEST(ConfigReader, ExpectTakesOnlyTheListedValues) {
  const Json config = Parse(R"({"a": "silu", "b": "gelu", "n": null})");
  ConfigNotes notes;
  ConfigReader reader(config, "config.json", notes);
  reader.Expect("a", {"silu"});
  reader.Expect("absent", {1});
  reader.Expect("n", {1});
  EXPECT_THAT(FailureOf([&] {
                reader.Expect("b", {"silu", "swish"});
              }),
              HasSubstr(R"('b' is "gelu", but only "silu" or "swish" is served)"));
}

TEST(ConfigReader, IllTypedAndAbsurdValuesAreNamed) {
  const Json config = Parse(R"({"s": "3", "half": 1.5, "neg": -1, "huge": 99999999999, "max": 18446744073709551615,
      "exp": 1e300, "zero": 0, "list": ["a", 1], "obj": {}, "bool": 1})");
  const struct {
    std::string_view key;
    std::function<void(ConfigReader&)> read;
    std::string_view says;
  } cases[] = {
      {"s", [](ConfigReader& r) { r.Required<int64_t>("s"); }, "whole number"},
      {"half", [](ConfigReader& r) { r.Required<int64_t>("half"); }, "whole number"},
      {"neg", [](ConfigReader& r) { r.Required<int64_t>("neg"); }, "outside 1 to 16777216"},
      {"zero", [](ConfigReader& r) { r.Required<int64_t>("zero"); }, "outside"},
      {"huge", [](ConfigReader& r) { r.Required<int64_t>("huge"); }, "outside"},
      {"max", [](ConfigReader& r) { r.Required<int64_t>("max"); }, "whole number"},
      {"exp", [](ConfigReader& r) { r.Required<int64_t>("exp"); }, "whole number"},
      {"exp", [](ConfigReader& r) { r.Required<double>("exp"); }, "positive number"},
      {"neg", [](ConfigReader& r) { r.Required<double>("neg"); }, "positive number"},
      {"zero", [](ConfigReader& r) { r.Required<double>("zero"); }, "positive number"},
      {"s", [](ConfigReader& r) { r.Required<double>("s"); }, "a number"},
      {"bool", [](ConfigReader& r) { r.Required<bool>("bool"); }, "true or false"},
      {"zero", [](ConfigReader& r) { r.Required<std::string>("zero"); }, "a string"},
      {"list", [](ConfigReader& r) { r.Required<std::vector<std::string>>("list"); }, "list of strings"},
      {"obj", [](ConfigReader& r) { r.Required<std::vector<std::string>>("obj"); }, "list of strings"},
      {"list", [](ConfigReader& r) { r.Nested("list"); }, "an object"},
      {"absent", [](ConfigReader& r) { r.Required<int64_t>("absent"); }, "is missing"},
  };
  for (const auto& c : cases) {
    ConfigNotes notes;
    ConfigReader reader(config, "config.json", notes);
    const std::string failure = FailureOf([&] { c.read(reader); });
    EXPECT_THAT(failure, HasSubstr(fmt::format("'{}'", c.key)));
    EXPECT_THAT(failure, HasSubstr(std::string(c.says))) << c.key;
  }
}

TEST(ConfigReader, OnlyAnObjectIsAConfiguration) {
  ConfigNotes notes;
  const Json list = Parse("[1]");
  EXPECT_THAT(FailureOf([&] { ConfigReader reader(list, "config.json", notes); }), HasSubstr("a array"));
}

TEST(ConfigReader, ProductsAreChecked) {
  const Json config = Parse("{}");
  ConfigNotes notes;
  ConfigReader reader(config, "config.json", notes);
  EXPECT_EQ(CheckedWidth(reader, "heads", 32, 128), 4096);
  EXPECT_THAT(FailureOf([&] { CheckedWidth(reader, "heads", 1 << 20, 1 << 20); }), HasSubstr("'heads'"));
  EXPECT_THAT(FailureOf([&] { CheckedWidth(reader, "heads", int64_t{1} << 62, 4); }), HasSubstr("'heads'"));
  EXPECT_EQ(DivideExactly(reader, "hidden", 12, "heads", 4), 3);
  EXPECT_THAT(FailureOf([&] { DivideExactly(reader, "hidden", 13, "heads", 4); }), HasSubstr("'hidden' is 13"));
}

}  // namespace
}  // namespace gannet
