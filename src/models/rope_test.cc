#include "models/rope.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/result.h"

namespace gannet {
namespace {

using testing::HasSubstr;

RopeSpec Read(std::string_view text, HfRopeOptions options = {}, int64_t head_dim = 64, int64_t max_positions = 8192) {
  Result<Json> json = Json::Parse(text);
  EXPECT_TRUE(json.ok()) << text;
  const Json config = std::move(json).value();
  ConfigNotes notes;
  ConfigReader reader(config, "config.json", notes);
  RopeSpec spec = ReadHfRope(reader, head_dim, max_positions, options);
  reader.Finish();
  return spec;
}

TEST(HfRope, DefaultInEveryDialect) {
  for (std::string_view text :
       {R"({"rope_theta": 5e5})", R"({"rope_theta": 500000, "rope_scaling": null})",
        R"({"rope_theta": 5e5, "rope_scaling": {"type": "default"}})", R"({"rope_parameters": {"rope_theta": 5e5}})",
        R"({"rope_parameters": {"rope_theta": 5e5, "rope_type": "default"}})",
        R"({"rope_theta": 5e5, "rope_parameters": {"rope_theta": 5e5, "rope_type": "default"}})"}) {
    const RopeSpec spec = Read(text);
    EXPECT_EQ(spec.theta, 5e5) << text;
    EXPECT_EQ(spec.dims, 64);
    EXPECT_TRUE(std::holds_alternative<std::monostate>(spec.scaling));
  }
  EXPECT_EQ(Read("{}").theta, 10000);
}

TEST(HfRope, LinearUnderEitherName) {
  for (std::string_view text : {R"({"rope_scaling": {"type": "linear", "factor": 4}})",
                                R"({"rope_scaling": {"rope_type": "linear", "factor": 4.0}})",
                                R"({"rope_parameters": {"rope_type": "linear", "type": "linear", "factor": 4}})"}) {
    EXPECT_EQ(std::get<RopeLinear>(Read(text).scaling).factor, 4) << text;
  }
}

TEST(HfRope, Llama3) {
  const auto scaling = std::get<RopeLlama3>(
      Read(R"({"rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
               "original_max_position_embeddings": 1024}})")
          .scaling);
  EXPECT_EQ(scaling.factor, 8);
  EXPECT_EQ(scaling.low_freq_factor, 1);
  EXPECT_EQ(scaling.high_freq_factor, 4);
  EXPECT_EQ(scaling.original_positions, 1024);
}

RopeYarn ReadYarn(std::string_view members, int64_t max_positions = 8192) {
  return std::get<RopeYarn>(
      Read(R"({"rope_scaling": {"type": "yarn")" + std::string(members) + "}}", {}, 64, max_positions).scaling);
}

// attention_factor as _compute_yarn_parameters of transformers 5.23 returns it for the same dictionaries.
TEST(HfRope, YarnResolvesItsAttentionFactor) {
  const RopeYarn plain = ReadYarn(R"(, "factor": 32, "original_max_position_embeddings": 4096)");
  EXPECT_EQ(plain.original_positions, 4096);
  EXPECT_EQ(plain.beta_fast, 32);
  EXPECT_EQ(plain.beta_slow, 1);
  EXPECT_TRUE(plain.truncate);
  EXPECT_NEAR(plain.attention_factor, 1.3465735902799727, 1e-15);
  EXPECT_EQ(ReadYarn(R"(, "factor": 32, "attention_factor": 1.5)").attention_factor, 1.5);
  EXPECT_NEAR(ReadYarn(R"(, "factor": 40, "mscale": 1, "mscale_all_dim": 1)").attention_factor, 1, 1e-15);
  EXPECT_NEAR(ReadYarn(R"(, "factor": 40, "mscale": 0.707, "mscale_all_dim": 1)").attention_factor, 0.9210423553163399,
              1e-15);
  EXPECT_NEAR(ReadYarn(R"(, "factor": 40, "mscale": 1, "mscale_all_dim": 0)").attention_factor, 1.3688879454113936,
              1e-15);
  EXPECT_EQ(ReadYarn(R"(, "factor": 1)").attention_factor, 1);
}

TEST(HfRope, YarnOptions) {
  const RopeYarn yarn = ReadYarn(R"(, "factor": null, "original_max_position_embeddings": 2048, "beta_fast": 16,
                                    "beta_slow": 2, "truncate": false, "finetuned": true)");
  EXPECT_EQ(yarn.factor, 4);
  EXPECT_EQ(yarn.beta_fast, 16);
  EXPECT_EQ(yarn.beta_slow, 2);
  EXPECT_FALSE(yarn.truncate);
  EXPECT_EQ(ReadYarn(R"(, "factor": 2)").original_positions, 8192);
}

TEST(HfRope, PartialWhereTheArchitectureHasIt) {
  const HfRopeOptions partial{.pairing = RopePairing::kHalves, .partial = true};
  EXPECT_EQ(Read(R"({"partial_rotary_factor": 0.5})", partial).dims, 32);
  EXPECT_EQ(Read(R"({"rope_parameters": {"partial_rotary_factor": 0.334}})", partial, 192).dims, 64);
  EXPECT_EQ(Read(R"({"partial_rotary_factor": 1.0})").dims, 64);
}

TEST(HfRope, Refusals) {
  const struct {
    std::string_view config;
    std::string_view key;
    std::string_view says;
  } cases[] = {
      {R"({"rope_scaling": {"type": "dynamic", "factor": 2}})", "'rope_scaling.type'", "dynamic"},
      {R"({"rope_scaling": {"rope_type": "longrope"}})", "'rope_scaling.rope_type'", "longrope"},
      {R"({"rope_parameters": {"rope_type": "proportional"}})", "'rope_parameters.rope_type'", "proportional"},
      {R"({"rope_parameters": {"full_attention": {"rope_theta": 1e4}}})", "'rope_parameters.full_attention'", "maths"},
      {R"({"rope_scaling": {"type": "linear", "rope_type": "yarn", "factor": 2}})", "'rope_scaling.type'", "yarn"},
      {R"({"rope_scaling": {"type": "linear"}})", "'rope_scaling.factor'", "missing"},
      {R"({"rope_scaling": {"type": "linear", "factor": 0.5}})", "'rope_scaling.factor'", "at least 1"},
      {R"({"rope_scaling": {"type": "default", "factor": 2}})", "'rope_scaling.factor'", "could change the maths"},
      {R"({"rope_scaling": {"type": "linear", "factor": 2, "beta_fast": 3}})", "'rope_scaling.beta_fast'", "maths"},
      {R"({"rope_scaling": {"type": "yarn", "factor": 2, "mscale": -1}})", "'rope_scaling.mscale'", "positive"},
      {R"({"rope_scaling": {"type": "yarn", "factor": 2, "beta_fast": 0.5}})", "'rope_scaling.beta_fast'", "beta_slow"},
      {R"({"rope_scaling": {"type": "llama3", "factor": 8}})", "'rope_scaling.low_freq_factor'", "missing"},
      {R"({"rope_scaling": {"type": "llama3", "factor": 8, "low_freq_factor": 4, "high_freq_factor": 4}})",
       "'rope_scaling.high_freq_factor'", "above"},
      {R"({"rope_scaling": "linear"})", "'rope_scaling'", "an object"},
      {R"({"rope_theta": 1e4, "rope_parameters": {"rope_theta": 1e5}})", "'rope_theta'", "remove one"},
      {R"({"rope_scaling": {"type": "default"}, "rope_parameters": {}})", "'rope_scaling'", "rope_parameters"},
      {R"({"rope_theta": 1})", "'rope_theta'", "above 1"},
      {R"({"rope_theta": "big"})", "'rope_theta'", "number"},
      {R"({"partial_rotary_factor": 0.5})", "'partial_rotary_factor'", "whole heads"},
  };
  for (const auto& c : cases) {
    std::string failure = "accepted";
    try {
      Read(c.config);
    } catch (const LoadError& error) {
      failure = error.what();
    }
    EXPECT_THAT(failure, HasSubstr(std::string(c.key))) << c.config;
    EXPECT_THAT(failure, HasSubstr(std::string(c.says))) << c.config;
  }
}

RopeSpec ReadGguf(std::string_view text, bool divisors = false) {
  Result<Json> json = Json::Parse(text);
  EXPECT_TRUE(json.ok()) << text;
  const Json config = std::move(json).value();
  ConfigNotes notes;
  ConfigReader reader(config, "the GGUF metadata", notes);
  ModelSource source;
  source.has_tensor = [&](std::string_view name) { return divisors && name == "rope_freqs.weight"; };
  RopeSpec spec = ReadGgufRope(reader, source, "llama.", 64, 8192, RopePairing::kInterleaved);
  reader.Finish();
  return spec;
}

TEST(GgufRope, Scalings) {
  EXPECT_EQ(ReadGguf("{}").theta, 10000);
  EXPECT_EQ(std::get<RopeLinear>(
                ReadGguf(R"({"llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": 4.0})").scaling)
                .factor,
            4);
  const auto yarn =
      std::get<RopeYarn>(ReadGguf(R"({"llama.rope.scaling.type": "yarn", "llama.rope.scaling.factor": 32.0,
          "llama.rope.scaling.original_context_length": 4096, "llama.rope.scaling.attn_factor": 0.5})")
                             .scaling);
  EXPECT_EQ(yarn.original_positions, 4096);
  EXPECT_NEAR(yarn.attention_factor, 0.5 * 1.3465735902799727, 1e-15);
  EXPECT_TRUE(std::holds_alternative<RopeDivisors>(ReadGguf("{}", true).scaling));
  EXPECT_THROW(ReadGguf(R"({"llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": 4.0})", true), LoadError);
  EXPECT_THROW(ReadGguf(R"({"llama.rope.scaling.factor": 4.0})"), LoadError);
}

}  // namespace
}  // namespace gannet
