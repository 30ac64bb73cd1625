#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "base/dtype.h"
#include "base/result.h"
#include "kernels/kv_block.h"
#include "kernels/reference/reference.h"

namespace gannet::reference {
namespace {

void Write(KvType type, std::byte* at, float value) {
  if (type == KvType::kF32) {
    std::memcpy(at, &value, 4);
  } else if (type == KvType::kFp8) {
    *at = static_cast<std::byte>(FloatToE4M3(value));
  } else {
    const uint16_t bits = type == KvType::kF16 ? FloatToF16(value) : FloatToBF16(value);
    std::memcpy(at, &bits, 2);
  }
}

float Read(KvType type, const std::byte* at) {
  if (type == KvType::kF32) {
    float value;
    std::memcpy(&value, at, 4);
    return value;
  }
  if (type == KvType::kFp8) return kE4M3.values[std::to_integer<size_t>(*at)];
  uint16_t bits;
  std::memcpy(&bits, at, 2);
  return type == KvType::kF16 ? F16ToFloat(bits) : BF16ToFloat(bits);
}

struct Address {  // of key and value elements of one kv head
  const KvLayout& layout;
  int64_t head;
  int64_t key(int64_t dim, int64_t token) const {
    if (layout.type == KvType::kInt8) {
      const KeyPart part = PartOf(dim);
      return KeyOffset(layout, head) + token * PaddedKeyDim(layout) + part.place + dim - part.first;
    }
    if (layout.latent) return (token * PaddedKeyDim(layout) + dim) * BytesOf(layout.type);
    return KeyOffset(layout, head) + (dim * kBlockTokens + token) * BytesOf(layout.type);
  }
  int64_t value(int64_t dim, int64_t token) const {
    return ValueOffset(layout, head) + (token * ValueStride(layout) + dim) * BytesOf(layout.type);
  }
  int64_t scale(int64_t which, int64_t token) const {
    return ScaleOffset(layout, head) + (which * kBlockTokens + token) * static_cast<int64_t>(sizeof(float));
  }
  KeyPart PartOf(int64_t dim) const {
    const std::array<KeyPart, 2> parts = KeyParts(layout);
    return parts[dim < parts[1].first ? 0 : 1];
  }
};

struct BlockReader {
  Address at;
  const std::byte* block;
  float key(int64_t dim, int64_t token) const { return Element(at.key(dim, token), at.PartOf(dim).scale, token); }
  float value(int64_t dim, int64_t token) const { return Element(at.value(dim, token), ValueScale(at.layout), token); }

 private:
  float Element(int64_t offset, int64_t which, int64_t token) const {
    if (at.layout.type != KvType::kInt8) return Read(at.layout.type, block + offset);
    return Read(KvType::kF32, block + at.scale(which, token)) *
           static_cast<float>(std::to_integer<int8_t>(block[offset]));
  }
};

// dims values from `from`, whose first goes to `to`, with one scale.
void WriteInt8(const float* from, int64_t dims, std::byte* to, std::byte* scale_at) {
  float largest = 0;
  bool finite = true;
  for (int64_t d = 0; d < dims; ++d) {
    finite = finite && std::isfinite(from[d]);
    largest = std::max(largest, std::fabs(from[d]));
  }
  const bool counts = finite && largest >= 0x1p-100f;
  const float scale = counts ? largest / 127 : finite ? 0.0f : std::numeric_limits<float>::quiet_NaN();
  const float inverse = counts ? 127 / largest : 0.0f;
  std::memcpy(scale_at, &scale, sizeof(scale));
  for (int64_t d = 0; d < RoundUp16(dims); ++d) {
    const float quant = counts && d < dims ? std::nearbyint(from[d] * inverse) : 0.0f;
    to[d] = static_cast<std::byte>(static_cast<int8_t>(quant));
  }
}

}  // namespace

float ReadKey(const KvLayout& layout, const std::byte* block, int64_t head, int64_t dim, int64_t token) {
  return BlockReader{{layout, head}, block}.key(dim, token);
}

namespace {

// The keys a row sees, in order.
std::vector<int64_t> KeysOf(const AttentionArgs& args, int64_t row) {
  if (args.chosen) {
    const std::span<const int32_t> chosen = args.chosen->of(row);
    return {chosen.begin(), chosen.end()};
  }
  std::vector<int64_t> keys;
  const KeySpan span = args.spans[static_cast<size_t>(row)];
  for (int64_t j = span.begin; j < span.end; ++j) keys.push_back(j);
  return keys;
}

// Softmax states [maximum, sum, ..., values] of earlier keys and of these become one, here and there.
void MergeCarry(float* state, double& largest, double& total, std::vector<double>& sums) {
  float* values = state + kCarryHeader;
  if (state[1] > 0) {
    const double most = total > 0 ? std::max<double>(largest, state[0]) : static_cast<double>(state[0]);
    const double now = total > 0 ? std::exp(largest - most) : 0;
    const double before = std::exp(state[0] - most);
    total = total * now + state[1] * before;
    for (size_t d = 0; d < sums.size(); ++d) sums[d] = sums[d] * now + values[d] * before;
    largest = most;
  }
  state[0] = total > 0 ? static_cast<float>(largest) : 0.0f;
  state[1] = static_cast<float>(total);
  for (size_t d = 0; d < sums.size(); ++d) values[d] = static_cast<float>(sums[d]);
}

void AttendRow(const AttentionArgs& args, const AttentionSequence& sequence, int64_t row, int64_t head) {
  const KvLayout& layout = args.pages.layout;
  const Address at{layout, head / (args.query_heads / layout.kv_heads)};
  const std::vector<int64_t> keys = KeysOf(args, row);
  const float* q = args.q + row * args.q_stride + head * layout.key_dim;
  float* out = args.out + row * args.out_stride + head * layout.value_dim;
  const auto block_of = [&](int64_t position) {
    return BlockReader{at, args.pages.block(sequence.blocks[static_cast<size_t>(position / kBlockTokens)])};
  };

  std::vector<double> weights;
  double largest = -std::numeric_limits<double>::infinity();
  for (const int64_t j : keys) {
    double score = 0;
    for (int64_t d = 0; d < layout.key_dim; ++d) {
      score += static_cast<double>(q[d]) * block_of(j).key(d, j % kBlockTokens);
    }
    weights.push_back(score * args.scale);
    largest = std::max(largest, weights.back());
  }
  double total = 0;
  for (double& weight : weights) total += weight = std::exp(weight - largest);
  std::vector<double> sums(static_cast<size_t>(layout.value_dim), 0.0);
  for (int64_t d = 0; d < layout.value_dim; ++d) {
    double& sum = sums[static_cast<size_t>(d)];
    for (size_t i = 0; i < keys.size(); ++i) {
      sum += weights[i] * block_of(keys[i]).value(d, keys[i] % kBlockTokens);
    }
  }
  if (args.carry) {
    float* state = args.carry + (row * args.query_heads + head) * AttentionCarry(layout);
    MergeCarry(state, largest, total, sums);
  }
  double divisor = total;
  double kept = args.value_scale;
  if (args.sinks && total != 0) {
    const double most = std::max<double>(largest, args.sinks[head]);
    kept *= std::exp(largest - most);
    divisor = total * std::exp(largest - most) + std::exp(args.sinks[head] - most);
  }
  for (int64_t d = 0; d < layout.value_dim; ++d) {
    out[d] = total != 0 ? static_cast<float>(sums[static_cast<size_t>(d)] * kept / divisor) : 0.0f;
  }
}

}  // namespace

void StoreKv(const KvStoreArgs& args, ThreadPool&) {
  const KvLayout& layout = args.pages.layout;
  for (size_t row = 0; row < args.slots.size(); ++row) {
    std::byte* block = args.pages.block(args.slots[row] / kBlockTokens);
    const int64_t token = args.slots[row] % kBlockTokens;
    const float* keys = args.keys + static_cast<int64_t>(row) * args.key_stride;
    if (layout.type == KvType::kInt8) {
      for (int64_t head = 0; head < layout.kv_heads; ++head) {
        const Address at{layout, head};
        std::byte* row_of_keys = block + KeyOffset(layout, head) + token * PaddedKeyDim(layout);
        for (const KeyPart& part : KeyParts(layout)) {
          if (part.dims == 0) continue;
          WriteInt8(keys + head * layout.key_dim + part.first, part.dims, row_of_keys + part.place,
                    block + at.scale(part.scale, token));
        }
        if (layout.latent) continue;
        WriteInt8(args.values + static_cast<int64_t>(row) * args.value_stride + head * layout.value_dim,
                  layout.value_dim, block + at.value(0, token), block + at.scale(1, token));
      }
      continue;
    }
    if (layout.latent) {
      for (int64_t d = 0; d < PaddedKeyDim(layout); ++d) {
        const Address at{layout, 0};
        Write(layout.type, block + at.key(d, token), d < layout.key_dim ? keys[d] : 0.0f);
      }
      continue;
    }
    const float* values = args.values + static_cast<int64_t>(row) * args.value_stride;
    for (int64_t head = 0; head < layout.kv_heads; ++head) {
      const Address at{layout, head};
      for (int64_t d = 0; d < layout.key_dim; ++d) {
        Write(layout.type, block + at.key(d, token), keys[head * layout.key_dim + d]);
      }
      for (int64_t d = 0; d < layout.value_dim; ++d) {
        Write(layout.type, block + at.value(d, token), values[head * layout.value_dim + d]);
      }
    }
  }
}

void Attention(const AttentionArgs& args, ThreadPool& pool) {
  for (const AttentionSequence& sequence : args.sequences) {
    pool.ParallelFor(sequence.row_count * args.query_heads, [&](int64_t index, int) {
      AttendRow(args, sequence, sequence.row_begin + index / args.query_heads, index % args.query_heads);
    });
  }
}

}  // namespace gannet::reference
