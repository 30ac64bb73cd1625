// MiMo-V2-Flash (arXiv 2601.02780): window layers with their own heads, RoPE base and sinks beside full ones.
#include <algorithm>

#include "models/common_keys.h"
#include "models/expert_keys.h"
#include "models/grouped_keys.h"
#include "models/registry.h"

namespace gannet {
namespace {

// sliding_window_size counts the tokens before a row, sliding_window the row itself too (as transformers reads both).
std::optional<int64_t> ReadWindowSize(ConfigReader& reader) {
  const auto size = reader.Find<int64_t>("sliding_window_size", kTokenCount);
  if (!size) return std::nullopt;
  reader.Notice("sliding_window_size counts the tokens before a row: the window is that and the row itself" +
                std::string(reader.Has("sliding_window") ? "; it wins over sliding_window" : ""));
  return *size + 1;
}

// Three heads, which no key of the configuration counts: window attention, dense, each from the model's hidden state.
void AddMimoDrafts(ConfigReader& reader, const GroupedAttention& sliding, const DenseFfn& dense, ModelFrame& frame) {
  frame.draft_count = reader.Optional<int64_t>("num_nextn_predict_layers", 3, IntRange{0, 64});
  AddDrafts(frame, sliding, dense);
  for (DraftHead& head : frame.spec.drafts) head.chained = head.normed = false;
  frame.spec.tensors.drafts = {
      .prefix = "model.mtp.layers.{}.",
      .names = {{Slot::kFfnNorm, "pre_mlp_layernorm.weight"}, {Slot::kDraftNorm, "final_layernorm.weight"}},
      .owned = {"model.mtp."}};
}

ModelSpec ResolveMimoV2Flash(const ModelSource& source, ConfigReader& reader) {
  ModelFrame frame = ReadHfFrame(reader, "mimo_v2_flash");
  const int64_t heads = reader.Required<int64_t>("num_attention_heads");
  const int64_t kv_heads = reader.Required<int64_t>("num_key_value_heads");
  const int64_t head_dim = HfHeadDim(reader, frame.spec.hidden, heads);
  GroupedOptions options{.full = HfGroupedAttention(reader, heads, kv_heads, head_dim),
                         .rope = HfRopeOptions{.partial = true, .default_partial = 0.334}};
  const int64_t swa_heads = reader.Optional<int64_t>("swa_num_attention_heads", heads);
  const int64_t swa_kv_heads = reader.Optional<int64_t>("swa_num_key_value_heads", 2 * kv_heads);
  DivideExactly(reader, "swa_num_attention_heads", swa_heads, "swa_num_key_value_heads", swa_kv_heads);
  const int64_t swa_head_dim = reader.Optional<int64_t>("swa_head_dim", head_dim);
  options.sliding = HfGroupedAttention(reader, swa_heads, swa_kv_heads, swa_head_dim);
  options.sliding->sinks = reader.Optional<bool>("add_swa_attention_sink_bias", true);
  options.full.sinks = reader.Optional<bool>("add_full_attention_sink_bias", false);
  const bool biased = reader.Optional<bool>("attention_bias", false);
  options.full.biases = options.sliding->biases = {.q = biased, .k = biased, .v = biased};
  options.window = ReadWindowSize(reader);
  options.slides.emplace();
  for (int64_t layer = 0; layer < frame.layer_count; ++layer) {
    options.slides->push_back(layer != 0 && (layer + 1) % 6 != 0);
  }
  frame.spec.tensors.names[Slot::kSinks] = "self_attn.attention_sink_bias";
  reader.Ignore({"attention_chunk_size", "hybrid_block_size"}, "windows are said layer by layer");
  const std::vector<GroupedAttention> attention = ReadGroupedLayers(reader, source, frame, options);
  const DeepseekFfns ffns = ReadDeepseekFfns(reader, frame, /*dense=*/1);
  AddLayers(frame, attention, ffns.layers);
  const auto sliding =
      std::ranges::find_if(attention, [](const GroupedAttention& layer) { return layer.window.has_value(); });
  if (sliding != attention.end()) AddMimoDrafts(reader, *sliding, ffns.dense, frame);
  return frame.spec;
}

const RegisterArchitectures kRegistered{{Dialect::kHuggingFace, "MiMoV2FlashForCausalLM", ResolveMimoV2Flash}};

}  // namespace
}  // namespace gannet
