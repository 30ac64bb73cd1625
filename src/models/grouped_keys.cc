#include "models/grouped_keys.h"

#include <fmt/format.h>

#include "models/expert_keys.h"

namespace gannet {
namespace {

std::vector<bool> FlaggedLayers(ConfigReader& reader, std::string_view key, const ModelFrame& frame) {
  std::vector<bool> flags;
  for (const int64_t flag : ForEachLayer(reader, key, *reader.Find<std::vector<int64_t>>(key, IntRange{0, 1}), frame)) {
    flags.push_back(flag == 1);
  }
  return flags;
}

std::vector<bool> SlidingTypes(ConfigReader& reader, std::vector<std::string> types, const ModelFrame& frame) {
  std::vector<bool> slides;
  for (const std::string& type : ForEachLayer(reader, "layer_types", std::move(types), frame)) {
    if (type != "sliding_attention" && type != "full_attention") {
      reader.Fail("layer_types", fmt::format("calls layer {} \"{}\", but only full_attention and sliding_attention are "
                                             "served",
                                             slides.size(), type));
    }
    slides.push_back(type == "sliding_attention");
  }
  return slides;
}

struct SlidingSource {
  std::string_view key;
  std::vector<bool> slides;
};

// Every key that says which layers slide.
std::vector<SlidingSource> SlidingSources(ConfigReader& reader, const ModelFrame& frame) {
  std::vector<SlidingSource> sources;
  if (reader.IsList("window_attn_skip_freq")) {
    sources.push_back({"window_attn_skip_freq", FlaggedLayers(reader, "window_attn_skip_freq", frame)});
  }
  if (reader.Has("hybrid_layer_pattern")) {
    sources.push_back({"hybrid_layer_pattern", FlaggedLayers(reader, "hybrid_layer_pattern", frame)});
  }
  if (auto types = reader.Find<std::vector<std::string>>("layer_types")) {
    sources.push_back({"layer_types", SlidingTypes(reader, *std::move(types), frame)});
  }
  if (!reader.IsList("window_attn_skip_freq")) {
    if (const auto every = reader.Find<int64_t>("window_attn_skip_freq")) {
      sources.push_back({"window_attn_skip_freq", {}});
      for (int64_t i = 0; i < frame.layer_count; ++i) sources.back().slides.push_back(i % *every != 0);
    }
  }
  return sources;
}

// sliding_window, or none when it is not positive.
std::optional<int64_t> ReadWindow(ConfigReader& reader) {
  constexpr IntRange kAnySign{-kTokenCount.max, kTokenCount.max};
  std::optional<int64_t> window;
  if (reader.IsList("sliding_window")) {
    const std::vector<int64_t> sides = *reader.Find<std::vector<int64_t>>("sliding_window", kAnySign);
    if (sides.size() != 2) {
      reader.Fail("sliding_window", fmt::format("is a list of {}, but must be [left, right]", sides.size()));
    }
    window = sides[0];
  } else {
    window = reader.Find<int64_t>("sliding_window", kAnySign);
  }
  return window && *window > 0 ? window : std::nullopt;
}

// The window of every layer, in tokens.
std::vector<std::optional<int64_t>> ReadWindows(ConfigReader& reader, const ModelFrame& frame,
                                                const GroupedOptions& options) {
  std::optional<int64_t> window = ReadWindow(reader);
  if (options.window) window = options.window;
  const std::vector<SlidingSource> sources = SlidingSources(reader, frame);
  const size_t layers = static_cast<size_t>(frame.layer_count);
  for (size_t i = 1; i < sources.size(); ++i) {
    for (size_t layer = 0; layer < layers; ++layer) {
      if (sources[i].slides[layer] == sources[0].slides[layer]) continue;
      reader.Fail(sources[0].key,
                  fmt::format("{} layer {} slide, but {} says otherwise; remove one of them",
                              sources[0].slides[layer] ? "makes" : "does not make", layer, sources[i].key));
    }
  }
  const bool switched_off = !reader.Optional<bool>("use_sliding_window", true);
  std::vector<bool> slides(layers, window && !switched_off);
  if (options.slides) slides = *options.slides;
  if (!sources.empty()) slides = sources[0].slides;
  const std::string_view key = sources.empty() ? "sliding_window" : sources[0].key;
  std::vector<std::optional<int64_t>> windows(layers);
  for (size_t layer = 0; layer < layers; ++layer) {
    if (!slides[layer]) continue;
    if (switched_off) {
      reader.Fail(key, fmt::format("makes layer {} slide, but use_sliding_window is false", layer));
    }
    if (!window) {
      reader.Fail(key, fmt::format("makes layer {} slide, but sliding_window is absent", layer));
    }
    windows[layer] = window;
  }
  return windows;
}

// The projections' names on disk. Without the key, the tensors of the first layer tell.
void ReadProjectionLayout(ConfigReader& reader, const ModelSource& source, TensorNames& tensors) {
  const auto has = [&source](std::string_view name) { return source.has_tensor && source.has_tensor(name); };
  std::string_view fused;
  if (const auto layout = reader.Find<std::string>("attention_projection_layout")) {
    if (*layout == "fused_qkv") {
      fused = "qkv_proj";
    } else if (*layout == "fused_qkv_gate") {
      fused = "qkvg_proj";
    } else if (*layout != "split") {
      reader.Fail("attention_projection_layout",
                  fmt::format("is \"{}\", but only split, fused_qkv and fused_qkv_gate are served", *layout));
    }
  } else if (has("model.layers.0.self_attn.qkv_proj.weight")) {
    fused = "qkv_proj";
  } else if (has("model.layers.0.self_attn.qkvg_proj.weight")) {
    fused = "qkvg_proj";
  }
  if (fused.empty()) return;
  const bool gate = fused == "qkvg_proj";
  tensors.qkv = gate ? TensorNames::Qkv::kFusedWithGate : TensorNames::Qkv::kFused;
  for (const Slot slot : {Slot::kQ, Slot::kK, Slot::kV})
    tensors.names[slot] = fmt::format("self_attn.{}.weight", fused);
  for (const Slot slot : {Slot::kQBias, Slot::kKBias, Slot::kVBias}) {
    tensors.names[slot] = fmt::format("self_attn.{}.bias", fused);
  }
  if (!gate) return;
  tensors.names[Slot::kGate] = fmt::format("self_attn.{}.weight", fused);
  tensors.names[Slot::kGateBias] = fmt::format("self_attn.{}.bias", fused);
}

void ReadRopes(ConfigReader& reader, const ModelFrame& frame, const HfRopeOptions& options, GroupedAttention& full,
               GroupedAttention& sliding) {
  const auto read = [&](std::string_view layer_type, int64_t head_dim) {
    HfRopeOptions own = options;
    own.layer_type = layer_type;
    return ReadHfRope(reader, head_dim, frame.spec.max_positions, own);
  };
  full.rope = read("full_attention", full.key_dim);
  sliding.rope = read("sliding_attention", sliding.key_dim);
  const auto theta = reader.Find<double>("swa_rope_theta");
  if (!theta) return;
  if (*theta <= 1) reader.Fail("swa_rope_theta", fmt::format("is {}, but must be above 1", *theta));
  if (sliding.rope->theta != full.rope->theta && sliding.rope->theta != *theta) {
    reader.Fail("swa_rope_theta",
                fmt::format("is {}, but rope_parameters say {}; remove one of them", *theta, sliding.rope->theta));
  }
  sliding.rope->theta = *theta;
}

}  // namespace

std::vector<GroupedAttention> ReadGroupedLayers(ConfigReader& reader, const ModelSource& source, ModelFrame& frame,
                                                const GroupedOptions& options) {
  const std::vector<std::optional<int64_t>> windows = ReadWindows(reader, frame, options);
  GroupedAttention full = options.full;
  GroupedAttention sliding = options.sliding.value_or(full);
  const auto value_dim = reader.Find<int64_t>("v_head_dim");
  full.value_dim = value_dim.value_or(full.key_dim);
  sliding.value_dim = reader.Optional<int64_t>("swa_v_head_dim", value_dim.value_or(sliding.key_dim));
  if (options.rope) ReadRopes(reader, frame, *options.rope, full, sliding);
  bool o_bias = false;
  const std::optional<AttentionGate> gate = ReadGate(reader, o_bias);
  const double value_scale = reader.Optional<double>("attention_value_scale", 1);
  for (GroupedAttention* attention : {&full, &sliding}) {
    CheckedWidth(reader, "v_head_dim", attention->query_heads, attention->value_dim);
    if (gate) attention->gate = gate;
    attention->biases.o |= o_bias;
    attention->value_scale = value_scale;
  }
  ReadProjectionLayout(reader, source, frame.spec.tensors);
  if (frame.spec.tensors.qkv == TensorNames::Qkv::kFusedWithGate && !full.gate) {
    reader.Fail("use_gated_attn", "is not true, but the attention's projections are fused with a gate");
  }

  std::vector<GroupedAttention> attention;
  for (const std::optional<int64_t>& window : windows) {
    attention.push_back(window ? sliding : full);
    attention.back().window = window;
  }
  auto kv_heads = reader.Find<std::vector<int64_t>>("num_key_value_heads_list", kWidth);
  if (!kv_heads) return attention;
  *kv_heads = ForEachLayer(reader, "num_key_value_heads_list", *std::move(kv_heads), frame);
  for (size_t layer = 0; layer < attention.size(); ++layer) {
    attention[layer].kv_heads = (*kv_heads)[layer];
    if (attention[layer].query_heads % attention[layer].kv_heads == 0) continue;
    reader.Fail("num_key_value_heads_list",
                fmt::format("gives layer {} {} KV heads, which do not divide its {} query heads", layer,
                            attention[layer].kv_heads, attention[layer].query_heads));
  }
  return attention;
}

}  // namespace gannet
