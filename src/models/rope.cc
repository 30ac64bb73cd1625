#include "models/rope.h"

#include <fmt/format.h>

#include <cmath>

#include "base/result.h"

namespace gannet {
namespace {

// A value that may stand at the top level, in the rope object, or in both if they agree.
std::optional<double> OneOf(ConfigReader& top, ConfigReader* rope, std::string_view key) {
  const std::optional<double> outer = top.Find<double>(key);
  const std::optional<double> inner = rope ? rope->Find<double>(key) : std::nullopt;
  if (outer && inner && *outer != *inner) {
    top.Fail(key, fmt::format("is {}, but the rope object says {}; remove one of them", *outer, *inner));
  }
  return inner ? inner : outer;
}

struct RopeObject {
  ConfigReader* reader = nullptr;  // of either dialect, or null
  bool of_layer_type = false;      // where the object holds one for each layer type
};
RopeObject FindRopeObject(ConfigReader& reader, std::string_view layer_type) {
  ConfigReader* scaling = reader.Nested("rope_scaling");
  ConfigReader* parameters = reader.Nested("rope_parameters");
  if (scaling && parameters) reader.Fail("rope_scaling", "is given beside rope_parameters; remove one of them");
  ConfigReader* rope = scaling ? scaling : parameters;
  const bool for_types = rope && (rope->Has("full_attention") || rope->Has("sliding_attention"));
  if (layer_type.empty() || !for_types) return {rope, false};
  ConfigReader* own = rope->Nested(layer_type);
  if (!own) rope->Fail(layer_type, "is missing beside the other layer type's");
  return {own, true};
}

// 0 is "not given", as transformers reads it.
double NonNegative(ConfigReader& reader, std::string_view key) {
  if (reader.IsZero(key)) {
    reader.Expect(key, {0});
    return 0;
  }
  return reader.Optional<double>(key, 0);
}

int64_t OriginalPositions(ConfigReader& top, ConfigReader& rope, int64_t max_positions) {
  const std::string_view key = "original_max_position_embeddings";
  const std::optional<int64_t> inner = rope.Find<int64_t>(key, kTokenCount);
  const std::optional<int64_t> outer = top.Find<int64_t>(key, kTokenCount);
  if (inner && outer && *inner != *outer) {
    top.Fail(key, fmt::format("is {}, but the rope object says {}; remove one of them", *outer, *inner));
  }
  if (!inner && !outer) {
    top.Notice(
        fmt::format("{} is absent: max_position_embeddings ({}) taken, as transformers does", key, max_positions));
  }
  return inner.value_or(outer.value_or(max_positions));
}

double FactorOf(ConfigReader& rope) {
  const double factor = rope.Required<double>("factor");
  if (factor < 1) rope.Fail("factor", fmt::format("is {}, but must be at least 1", factor));
  return factor;
}

RopeLlama3 ReadLlama3(ConfigReader& top, ConfigReader& rope, int64_t max_positions) {
  RopeLlama3 llama3;
  llama3.factor = FactorOf(rope);
  llama3.low_freq_factor = rope.Required<double>("low_freq_factor");
  llama3.high_freq_factor = rope.Required<double>("high_freq_factor");
  if (llama3.high_freq_factor <= llama3.low_freq_factor) {
    rope.Fail("high_freq_factor", fmt::format("is {}, but must be above low_freq_factor ({})", llama3.high_freq_factor,
                                              llama3.low_freq_factor));
  }
  llama3.original_positions = OriginalPositions(top, rope, max_positions);
  return llama3;
}

RopeYarn ReadYarn(ConfigReader& top, ConfigReader& rope, int64_t max_positions) {
  RopeYarn yarn;
  yarn.original_positions = OriginalPositions(top, rope, max_positions);
  if (rope.Has("factor")) {
    yarn.factor = FactorOf(rope);
  } else {
    rope.Optional<double>("factor", 1);
    yarn.factor = static_cast<double>(max_positions) / static_cast<double>(yarn.original_positions);
    top.Notice(fmt::format("the yarn factor is absent: {} / {} = {} taken", max_positions, yarn.original_positions,
                           yarn.factor));
  }
  if (const double beta = NonNegative(rope, "beta_fast"); beta > 0) yarn.beta_fast = beta;
  if (const double beta = NonNegative(rope, "beta_slow"); beta > 0) yarn.beta_slow = beta;
  if (yarn.beta_fast < yarn.beta_slow) {
    rope.Fail("beta_fast", fmt::format("is {}, but must not be below beta_slow ({})", yarn.beta_fast, yarn.beta_slow));
  }
  yarn.truncate = rope.Optional<bool>("truncate", true);
  const double mscale = NonNegative(rope, "mscale");
  const double mscale_all_dim = NonNegative(rope, "mscale_all_dim");
  const std::optional<double> given = rope.Find<double>("attention_factor");
  yarn.attention_factor = given ? *given : YarnAttentionFactor(yarn.factor, mscale, mscale_all_dim);
  rope.Ignore({"finetuned"}, "how the model was trained");
  return yarn;
}

std::string RopeType(ConfigReader& rope) {
  const std::optional<std::string> type = rope.Find<std::string>("type");
  const std::optional<std::string> rope_type = rope.Find<std::string>("rope_type");
  if (type && rope_type && *type != *rope_type) {
    rope.Fail("type", fmt::format("is \"{}\", but rope_type says \"{}\"; remove one of them", *type, *rope_type));
  }
  return rope_type.value_or(type.value_or("default"));
}

int64_t RotatedDims(ConfigReader& reader, double factor, int64_t head_dim) {
  const int64_t dims = static_cast<int64_t>(static_cast<double>(head_dim) * factor);
  if (dims < 2 || dims > head_dim || dims % 2 != 0) {
    reader.Fail(
        factor == 1 ? "head_dim" : "partial_rotary_factor",
        fmt::format("makes RoPE turn {} of a head's {} dims, which must be an even number from 2", dims, head_dim));
  }
  return dims;
}

}  // namespace

double YarnAttentionFactor(double factor, double mscale, double mscale_all_dim) {
  const auto by = [factor](double m) { return factor <= 1 ? 1 : 0.1 * m * std::log(factor) + 1; };
  if (mscale != 0 && mscale_all_dim != 0) return by(mscale) / by(mscale_all_dim);
  return by(1);
}

RopeSpec ReadHfRope(ConfigReader& reader, int64_t head_dim, int64_t max_positions, const HfRopeOptions& options) {
  const auto [rope, of_layer_type] = FindRopeObject(reader, options.layer_type);

  RopeSpec spec;
  spec.pairing = options.pairing;
  const std::optional<double> theta = options.theta ? options.theta : OneOf(reader, rope, "rope_theta");
  if (!theta) {
    reader.Notice(fmt::format("rope_theta is absent: {} taken, as transformers does", options.default_theta));
  }
  spec.theta = theta.value_or(options.default_theta);
  if (spec.theta <= 1) reader.Fail("rope_theta", fmt::format("is {}, but must be above 1", spec.theta));

  const double partial = OneOf(reader, rope, "partial_rotary_factor").value_or(options.default_partial);
  if (partial != 1 && !options.partial) {
    reader.Fail("partial_rotary_factor", fmt::format("is {}, but this architecture turns whole heads", partial));
  }
  spec.dims = RotatedDims(reader, partial, head_dim);
  if (!rope || !(options.scaled || of_layer_type)) return spec;

  const std::string type = RopeType(*rope);
  if (type == "default") return spec;
  if (options.factorless_is_unscaled && !rope->Has("factor")) {
    rope->Ignore({"factor", "original_max_position_embeddings", "beta_fast", "beta_slow", "mscale", "mscale_all_dim"},
                 "no factor: nothing is scaled");
    return spec;
  }
  if (type == "linear") {
    spec.scaling = RopeLinear{FactorOf(*rope)};
  } else if (type == "llama3") {
    spec.scaling = ReadLlama3(reader, *rope, max_positions);
  } else if (type == "yarn") {
    spec.scaling = ReadYarn(reader, *rope, max_positions);
  } else {
    rope->Fail(rope->Has("rope_type") ? "rope_type" : "type",
               fmt::format("is \"{}\", but only default, linear, llama3 and yarn are served", type));
  }
  return spec;
}

double YarnScoreFactor(ConfigReader& reader, const RopeSpec& rope) {
  const auto* yarn = std::get_if<RopeYarn>(&rope.scaling);
  if (!yarn || yarn->factor <= 1) return 1;
  const double mscale = NonNegative(*FindRopeObject(reader, {}).reader, "mscale_all_dim");
  if (mscale == 0) return 1;
  const double m = 0.1 * mscale * std::log(yarn->factor) + 1;
  return m * m;
}

RopeSpec ReadGgufRope(ConfigReader& reader, const ModelSource& source, const std::string& prefix, int64_t head_dim,
                      int64_t max_positions, RopePairing pairing) {
  RopeSpec spec;
  spec.pairing = pairing;
  spec.theta = reader.Optional<double>(prefix + "rope.freq_base", 10000);
  if (spec.theta <= 1) reader.Fail(prefix + "rope.freq_base", fmt::format("is {}, but must be above 1", spec.theta));
  spec.dims = reader.Optional<int64_t>(prefix + "rope.dimension_count", head_dim);
  if (spec.dims > head_dim || spec.dims % 2 != 0) {
    reader.Fail(prefix + "rope.dimension_count",
                fmt::format("is {}, but must be even and at most a head's {} dims", spec.dims, head_dim));
  }

  const std::string scaling = prefix + "rope.scaling.";
  const std::string type = reader.Optional<std::string>(scaling + "type", "none");
  if (type == "linear") {
    const double factor = reader.Required<double>(scaling + "factor");
    if (factor < 1) reader.Fail(scaling + "factor", fmt::format("is {}, but must be at least 1", factor));
    spec.scaling = RopeLinear{factor};
  } else if (type == "yarn") {
    RopeYarn yarn;
    yarn.factor = reader.Required<double>(scaling + "factor");
    if (yarn.factor < 1) reader.Fail(scaling + "factor", fmt::format("is {}, but must be at least 1", yarn.factor));
    yarn.original_positions = reader.Optional<int64_t>(scaling + "original_context_length", max_positions, kTokenCount);
    yarn.beta_fast = reader.Optional<double>(scaling + "yarn_beta_fast", 32);
    yarn.beta_slow = reader.Optional<double>(scaling + "yarn_beta_slow", 1);
    if (yarn.beta_fast < yarn.beta_slow) reader.Fail(scaling + "yarn_beta_fast", "must not be below yarn_beta_slow");
    reader.Expect(scaling + "yarn_ext_factor", {1.0});
    // llama.cpp multiplies cos and sin by attn_factor * (1 + 0.1 ln(factor)).
    yarn.attention_factor =
        reader.Optional<double>(scaling + "attn_factor", 1) * YarnAttentionFactor(yarn.factor, 0, 0);
    reader.Ignore({scaling + "finetuned"}, "how the model was trained");
    spec.scaling = yarn;
  } else if (type == "none") {
    reader.Ignore({scaling + "finetuned"}, "no scaling is used");
  } else {
    reader.Fail(scaling + "type", fmt::format("is \"{}\", but only none, linear and yarn are served", type));
  }

  if (source.has_tensor && source.has_tensor("rope_freqs.weight")) {
    if (type != "none") reader.Fail(scaling + "type", fmt::format("is \"{}\" beside a tensor rope_freqs.weight", type));
    spec.scaling = RopeDivisors{"rope_freqs.weight"};
  }
  return spec;
}

}  // namespace gannet
