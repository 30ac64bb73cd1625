// The vocabulary of a model: what each layer is, resolved once from a configuration, then read-only. Plain data.
// Weight names, cache groups, workspaces and the forward pass all follow from it; no architecture name is in it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "spec/tensor_names.h"

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
  bool unit_offset = false;  // the file stores weight - 1 (Gemma, Step)
};

struct LayerNormSpec {  // (x - mean(x)) / sqrt(variance(x) + epsilon) * weight + bias
  double epsilon = 1e-6;
};

// ---- activations ----

enum class Activation {
  kSilu,             // x sigmoid(x)
  kClampedSilu,      // min(silu(x), limit); the factor beside it is clamped to [-limit, limit] (Step-3.5)
  kClampedSwiglu,    // g sigmoid(alpha g), g = min(x, limit); beside it clamp(up, -limit, limit) + 1 (gpt-oss)
  kSigmoid,          // of attention gates
  kScaledSoftsign,   // 2 x / (1 + |x|)
  kShiftedSoftsign,  // (x / (1 + |x|) + 1) / 2
};
struct ActivationSpec {
  Activation kind = Activation::kSilu;
  double limit = 0;  // of the clamped kinds
  double alpha = 0;  // of kClampedSwiglu
};

// ---- mixers: what moves information between positions ----

struct AttentionGate {  // attention output *= activation(W x (+ b)), before o_proj; x is the normed input of the layer
  enum class Per { kElement, kHead };  // one value for every element of the output, or for every head
  Per per = Per::kElement;
  Activation activation = Activation::kSigmoid;
  bool bias = false;
};
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
  bool sinks = false;      // a learned logit per query head joins the softmax and carries no value
  double value_scale = 1;  // multiplies the attention output
  std::optional<AttentionGate> gate = {};
};

// Scores a row's keys: score(j) = sum over heads of w_h max(0, q_h . k_j), with q from the query bottleneck, one k per
// token, w from the layer's normed input (DeepSeek-V3.2, arXiv 2512.02556).
struct Indexer {
  int64_t heads = 0;
  int64_t dim = 0;     // of a query head and of the key
  RopeSpec rope = {};  // of the first dims of both
  LayerNormSpec key_norm = {};
};
// Sparse attention (DSA): a row attends to the top_k of its keys with the highest scores; of equal scores the lower
// positions win. A row with no more than top_k keys sees all of them.
struct SparseKeys {
  int64_t top_k = 0;
  std::optional<Indexer> indexer = {};  // none: what the nearest layer before that has one chose (arXiv 2603.12201)
};

struct LatentBiases {
  bool q_a = false, kv_a = false, o = false;
};
// Multi-head latent attention (MLA, arXiv 2405.04434). The cache keeps a normed latent and one rotated key part, shared
// by all heads. Prompt rows expand keys and values of every head from it; generated rows stay in the latent space
// (absorbed form): which one is a row's own affair, never the batch's.
struct LatentAttention {
  int64_t heads = 0;
  std::optional<int64_t> query_rank = {};  // queries come through a bottleneck of this width
  int64_t latent_rank = 0;
  int64_t nope_dim = 0;          // of a query or key head, not rotated; comes first
  int64_t rope_dim = 0;          // of a query head, rotated; of the shared key part
  int64_t value_dim = 0;         // of a value head
  double scale = 1;              // multiplies the scores
  RopeSpec rope = {};            // dims = rope_dim, offset 0: of the rotated part alone
  RmsNormSpec latent_norm = {};  // of the query bottleneck and of the latent
  LatentBiases biases = {};
  std::optional<AttentionGate> gate = {};
  std::optional<SparseKeys> sparse = {};  // needs query_rank
};
using Mixer = std::variant<GroupedAttention, LatentAttention>;

// ---- feed-forward ----

struct DenseFfn {  // down(activation(gate x) * up x) (SwiGLU, arXiv 2002.05202)
  int64_t width = 0;
  ActivationSpec activation = {};
  bool biases = false;
};

struct RouterSpec {
  // Scores of all experts -> weights of the chosen ones.
  enum class Scoring {
    kSigmoid,          // sigmoid(logits)
    kSoftmax,          // softmax over all experts
    kSoftmaxOfChosen,  // choose by logits, then softmax over the chosen (gpt-oss)
  };
  Scoring scoring = Scoring::kSigmoid;
  int64_t experts = 0;
  int64_t chosen = 0;            // per row
  bool correction_bias = false;  // added to the scores for the choice alone (arXiv 2408.15664)
  bool bias = false;             // of the logits
  int64_t groups = 1;            // equal runs of experts; only the best `chosen_groups` of them count, a group's
  int64_t chosen_groups = 1;     // score being the sum of its two best (arXiv 2412.19437)
  bool normalize = true;         // weights of the chosen are divided by max(their sum, min_sum)
  double min_sum = 1e-20;
  double scaling = 1;  // multiplies the weights
};
struct MoeFfn {  // sum over the chosen experts of weight * expert(x), plus the shared expert
  RouterSpec router = {};
  int64_t expert_width = 0;
  ActivationSpec activation = {};
  bool expert_biases = false;
  int64_t shared_width = 0;  // 0: no shared expert
  ActivationSpec shared_activation = {};
  bool shared_biases = false;
  // Experts [first_held, first_held + held) are computed here, the others on other ranks; held 0: all are.
  int64_t first_held = 0;
  int64_t held = 0;
  int64_t held_experts() const { return held > 0 ? held : router.experts; }
};
using Ffn = std::variant<DenseFfn, MoeFfn>;

// ---- a layer, a model ----

struct PreNormResidual {};  // x += mixer(norm(x)); x += ffn(norm(x))
using Residual = std::variant<PreNormResidual>;

struct LayerSpec {
  Mixer mixer;
  Ffn ffn;
  Residual residual;
  RmsNormSpec norm;
};

// A draft head (multi-token prediction, arXiv 2412.19437 section 2.2): for position p, from a hidden state of p and the
// embedding of token p + 1 + i for head i, the logits of token p + 2 + i:
//   lm_head(norm(layer(projection [norm(embedding), norm(hidden state)])))
// The layer has a cache of its own; embedding and lm_head are the model's.
struct DraftHead {
  LayerSpec layer;
  RmsNormSpec norm;     // of the embedding, of the hidden state, and of the output
  bool chained = true;  // takes the hidden state of the head before it, the first one the model's; or all the model's
  bool normed = true;   // takes it after the final norm of what it comes from
  bool norms_output = true;
  bool skips_first = false;  // the embedding beside position 0 counts as zero
  bool own_lm_head = false;
};

struct ModelSpec {
  int64_t hidden = 0;         // width of the residual stream
  int64_t vocab = 0;          // rows of the embedding and of lm_head
  int64_t max_positions = 0;  // tokens the model was made for
  RmsNormSpec final_norm;
  bool tied_embeddings = false;  // lm_head is the embedding matrix
  bool lm_head_bias = false;
  std::vector<LayerSpec> layers;
  std::vector<DraftHead> drafts = {};  // that a checkpoint may hold; none: not to be run
  TensorNames tensors = {};            // how the checkpoint spells what the layers need

  // Layers and heads in one count, as cache groups and tensors name them: heads are behind the layers.
  int all_layers() const { return static_cast<int>(layers.size() + drafts.size()); }
  const LayerSpec& layer(int index) const {
    const size_t i = static_cast<size_t>(index);
    return i < layers.size() ? layers[i] : drafts[i - layers.size()].layer;
  }
};
ModelSpec WithoutDrafts(ModelSpec spec);

}  // namespace gannet
