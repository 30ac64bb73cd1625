// The vocabulary of a model: what each layer is, resolved once from a configuration, then read-only. Plain data.
// Weight names, cache groups, workspaces and the forward pass all follow from it; no architecture name is in it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace gannet {

// ---- rotary position embedding (Su et al., arXiv 2104.09864) ----

enum class RopePairing {
  kHalves,       // dims i and i + dims/2 turn together (GPT-NeoX)
  kInterleaved,  // dims 2i and 2i + 1 turn together (GPT-J)
};
struct RopeLinear {  // positions divided by factor (arXiv 2306.15595)
  double factor = 1;
  bool operator==(const RopeLinear&) const = default;
};
struct RopeLlama3 {  // Llama 3.1: low frequencies divided by factor, a smooth ramp between the two corner wavelengths
  double factor = 1;
  double low_freq_factor = 1;
  double high_freq_factor = 4;
  int64_t original_positions = 8192;  // tokens
  bool operator==(const RopeLlama3&) const = default;
};
struct RopeYarn {  // YaRN (arXiv 2309.00071)
  double factor = 1;
  int64_t original_positions = 4096;  // tokens
  double beta_fast = 32;
  double beta_slow = 1;
  bool truncate = true;         // round the corner dims to whole ones
  double attention_factor = 1;  // resolved: multiplies cos and sin
  bool operator==(const RopeYarn&) const = default;
};
struct RopeDivisors {  // one explicit divisor for every frequency, [dims / 2], stored as a tensor (GGUF
                       // rope_freqs.weight)
  std::string tensor;
  bool operator==(const RopeDivisors&) const = default;
};
using RopeScaling = std::variant<std::monostate, RopeLinear, RopeLlama3, RopeYarn, RopeDivisors>;

struct RopeSpec {
  int64_t dims = 0;    // rotated dims of a head, even; the rest pass through
  int64_t offset = 0;  // first rotated dim of the head
  double theta = 10000;
  RopePairing pairing = RopePairing::kHalves;
  RopeScaling scaling = {};
  bool operator==(const RopeSpec&) const = default;
};

// ---- normalization ----

struct RmsNormSpec {  // x / sqrt(mean(x^2) + epsilon) * weight
  double epsilon = 1e-6;
};

// ---- mixers: what moves information between positions ----

struct AttentionBiases {
  bool q = false, k = false, v = false, o = false;
};
struct GroupedAttention {  // multi-head, grouped-query and multi-query attention (arXiv 2305.13245)
  int64_t query_heads = 0;
  int64_t kv_heads = 0;   // divides query_heads
  int64_t key_dim = 0;    // of one query or key head
  int64_t value_dim = 0;  // of one value head; o_proj reads query_heads * value_dim
  double scale = 1;       // multiplies the scores
  std::optional<RopeSpec> rope = {};
  std::optional<int64_t> window = {};       // tokens: row p sees key j iff 0 <= p - j < window
  std::optional<RmsNormSpec> qk_norm = {};  // per head, over key_dim, before RoPE
  AttentionBiases biases = {};
};
using Mixer = std::variant<GroupedAttention>;

// ---- feed-forward ----

enum class Activation { kSilu };
struct DenseFfn {  // down(activation(gate x) * up x) (SwiGLU, arXiv 2002.05202)
  int64_t width = 0;
  Activation activation = Activation::kSilu;
  bool biases = false;
};
using Ffn = std::variant<DenseFfn>;

// ---- a layer, a model ----

struct PreNormResidual {};  // x += mixer(norm(x)); x += ffn(norm(x))
using Residual = std::variant<PreNormResidual>;

struct LayerSpec {
  Mixer mixer;
  Ffn ffn;
  Residual residual;
  RmsNormSpec norm;
};

struct ModelSpec {
  int64_t hidden = 0;         // width of the residual stream
  int64_t vocab = 0;          // rows of the embedding and of lm_head
  int64_t max_positions = 0;  // tokens the model was made for
  RmsNormSpec final_norm;
  bool tied_embeddings = false;  // lm_head is the embedding matrix
  std::vector<LayerSpec> layers;
};

}  // namespace gannet
