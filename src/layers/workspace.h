// Scratch of one step, sized once by the workspace plan.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <vector>

namespace gannet {

// A 64-byte aligned array of floats. Debug and asan builds fill it with NaN on Poison, so that a layer that reads what
// its step did not write shows.
class FloatBuffer {
 public:
  FloatBuffer() = default;
  explicit FloatBuffer(int64_t count) : count_(count), data_(Allocate(count)) {}

  float* data() { return data_.get(); }
  const float* data() const { return data_.get(); }
  int64_t size() const { return count_; }
  void Poison() {
#if !defined(NDEBUG) || defined(__SANITIZE_ADDRESS__)
    if (count_ > 0) std::memset(data_.get(), 0xff, static_cast<size_t>(count_) * sizeof(float));
#endif
  }

 private:
  struct Free {
    void operator()(float* data) const { ::operator delete[](data, std::align_val_t{64}); }
  };
  static float* Allocate(int64_t count) {
    return static_cast<float*>(::operator new[](static_cast<size_t>(count) * sizeof(float), std::align_val_t{64}));
  }

  int64_t count_ = 0;
  std::unique_ptr<float[], Free> data_;
};

// What lies between the operations of a step. Widths are in floats, of a row unless said otherwise.
enum class Area {
  kHidden,        // the residual stream
  kNormed,        // input of a mixer or feed-forward
  kQ,             // query heads * key width
  kK,             // kv heads * key width; latent and rotated key part
  kV,             // kv heads * value width
  kQDown,         // query bottleneck
  kAbsorbed,      // heads * (latent + rope): queries of generated rows in the latent space
  kLatentOut,     // heads * latent: their attention output
  kAttention,     // heads * value width
  kGate,          // of the attention output
  kCarry,         // softmax states between pieces of keys
  kFfnInner,      // width of a dense feed-forward
  kRouter,        // experts
  kExpertInner,   // chosen experts * their width, the shared one's
  kExpertOut,     // chosen experts and the shared one * hidden
  kIndexQ,        // indexer heads * dim
  kIndexK,        // indexer dim
  kIndexWeights,  // indexer heads
  kPartial,       // hidden: what this rank adds to it, before the others' parts
  kDraftInput,    // 2 * hidden: embedding and hidden state of a draft head
  kPieceLatents,  // of a token of a piece: latent + rope
  kPieceKeys,     // of a token of a piece: heads * key width
  kPieceValues,   // of a token of a piece: heads * value width
  kPiecePages,    // of a token of a piece: its place in cache blocks, in floats
  kCount,
};
inline constexpr size_t kAreas = static_cast<size_t>(Area::kCount);
constexpr bool IsOfPiece(Area area) { return area >= Area::kPieceLatents; }

struct Buffers {
  std::array<FloatBuffer, kAreas> areas;
  // Of sparse attention: what the last indexer chose for the step's absorbed rows, as many as WorkspacePlan says.
  std::vector<int32_t> chosen_keys;
  std::vector<int32_t> chosen_counts;  // [rows]
  float* operator[](Area area) { return areas[static_cast<size_t>(area)].data(); }
  const float* operator[](Area area) const { return areas[static_cast<size_t>(area)].data(); }
};

}  // namespace gannet
