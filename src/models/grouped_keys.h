// Grouped attention layer by layer. Windows, KV heads, RoPE bases, value width, gate and fused projections have keys of
// their own that every architecture with grouped attention accepts, whichever model brought them first.
#pragma once

#include <optional>
#include <vector>

#include "models/common_keys.h"
#include "models/config_reader.h"
#include "models/rope.h"
#include "spec/layer_spec.h"

namespace gannet {

struct GroupedOptions {
  GroupedAttention full;                         // without window and RoPE
  std::optional<GroupedAttention> sliding = {};  // where layers with a window have other heads, widths or sinks
  std::optional<HfRopeOptions> rope = {};        // unset: RoPE is the caller's to read
  // Which layers slide, and over how many tokens, where the architecture has keys of its own for it.
  std::optional<std::vector<bool>> slides = {};
  std::optional<int64_t> window = {};
};

// One attention for each layer. Read are
//   which layers slide: window_attn_skip_freq (a list with 1 for sliding, or a number N: all but every N-th from 0),
//     hybrid_layer_pattern (a list with 1 for sliding), layer_types, options.slides; every layer when sliding_window
//     is given alone. Two lists that disagree are an error, and so is one beside use_sliding_window: false;
//   sliding_window (tokens, the row's own among them; or [left, right]; not positive: none);
//   num_key_value_heads_list, v_head_dim, swa_v_head_dim, attention_value_scale, the gate's keys (ReadGate), and RoPE
//   as ReadHfRope
//     does, an object for each layer type if there is one, swa_rope_theta;
//   attention_projection_layout: split, fused_qkv or fused_qkv_gate; without it, the tensors of layer 0 tell.
std::vector<GroupedAttention> ReadGroupedLayers(ConfigReader& reader, const ModelSource& source, ModelFrame& frame,
                                                const GroupedOptions& options);

}  // namespace gannet
