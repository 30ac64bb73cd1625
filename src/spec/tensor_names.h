// What a tensor is to the maths, and where an architecture's files depart from the usual names and shapes.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace gannet {

// Layers ask for weights by slot, never by name. [out, in] unless said otherwise.
enum class Slot {
  kEmbedding,     // [vocab, hidden]
  kFinalNorm,     // [hidden]
  kLmHead,        // [vocab, hidden]; absent from the plan with tied embeddings
  kLmHeadBias,    // [vocab]
  kRopeDivisors,  // [rope dims / 2]
  kMixerNorm,     // [hidden]
  kFfnNorm,       // [hidden]
  kQ,
  kK,
  kV,
  kO,
  kQBias,
  kKBias,
  kVBias,
  kOBias,
  kQNorm,  // [key_dim]
  kKNorm,
  kSinks,  // [query_heads]
  kGate,   // of the attention output
  kGateBias,
  kQDown,  // hidden -> query_rank
  kQDownBias,
  kQDownNorm,  // [query_rank]
  kQUp,        // query_rank -> heads * (nope + rope)
  kKvDown,     // hidden -> latent_rank + rope
  kKvDownBias,
  kLatentNorm,  // [latent_rank]
  kKeyUp,       // of a head: latent_rank -> nope
  kKeyUpT,      // of a head: its transpose, nope -> latent_rank
  kValueUp,     // of a head: latent_rank -> value_dim
  kIndexQ,      // query_rank -> indexer heads * dim
  kIndexK,      // hidden -> indexer dim
  kIndexKNorm,  // [indexer dim]
  kIndexKNormBias,
  kIndexWeights,        // hidden -> indexer heads
  kDraftEmbeddingNorm,  // [hidden]
  kDraftHiddenNorm,     // [hidden]
  kDraftProjection,     // [hidden, 2 * hidden]: embedding first
  kDraftNorm,           // [hidden]
  kDraftLmHead,         // [vocab, hidden]
  kFfnGate,
  kFfnUp,
  kFfnDown,
  kFfnGateBias,
  kFfnUpBias,
  kFfnDownBias,
  kRouter,            // [experts, hidden]
  kRouterBias,        // [experts], of the logits
  kRouterCorrection,  // [experts], of the choice
  kExpertGate,        // of one expert
  kExpertUp,
  kExpertDown,
  kExpertGateBias,
  kExpertUpBias,
  kExpertDownBias,
  kSharedGate,  // of the shared expert
  kSharedUp,
  kSharedDown,
  kSharedGateBias,
  kSharedUpBias,
  kSharedDownBias,
};

struct TensorNames {
  enum class Qkv {
    kSeparate,
    kFused,          // q, k and v rows in one matrix, in this order
    kFusedWithGate,  // and the gate's rows after them
  };
  enum class KvUp {
    kJoined,  // per head the nope rows of the key, then the rows of the value: [heads * (nope + value), latent]
    kSplit,   // keys transposed [heads, latent, nope], values [heads, value, latent] (GGUF attn_k_b, attn_v_b)
  };
  enum class Experts {
    kEach,                // a matrix of its own for every expert
    kStacked,             // [experts, out, in]
    kStackedInterleaved,  // [experts, in, 2 * width] with gate and up columns in turn; down [experts, in, out]
  };
  Qkv qkv = Qkv::kSeparate;
  KvUp kv_up = KvUp::kJoined;
  Experts experts = Experts::kEach;
  // Names that differ from the usual ones, after the layer's prefix; "{}" stands for the expert.
  std::map<Slot, std::string> names = {};
  // Draft heads. Their tensors are called as those of layers behind the last one, but for these.
  struct Drafts {
    std::string prefix = {};                 // of the layer's names; "{}" stands for the head
    std::map<Slot, std::string> names = {};  // after that prefix; "{}": whole, with the head in its place
    std::vector<std::string> owned = {};     // starts of the names of all that belongs to heads
    std::vector<std::string> copies = {};    // names after the prefix that repeat the model's embedding or lm_head
  };
  Drafts drafts = {};
  // Tensors that are there and not needed: the start of their names, and why.
  struct Unused {
    std::string prefix;
    std::string reason;
  };
  std::vector<Unused> unused = {};
};

}  // namespace gannet
