// Weights as the tile registers of amx_int8.cc take them. Included inside its namespace.

constexpr int64_t kLine = 64;        // of 16 weight rows by four k
constexpr int64_t kHalfBytes = 512;  // 16 weight rows of a block as int8, [8 groups][16 rows][4 k]
// A half of a block unpacked: int8 quants, then 16 scales and 16 minima, which are added times scale * sum of x.
constexpr int64_t kUnpackedTwoPlaneBytes = kHalfBytes + 2 * kLine;
// Of 4-bit floats: then the 16 scales as bits of powers of two.
constexpr int64_t kUnpackedFp4Bytes = kHalfBytes + kLine;

inline __m512i LoadLine(const void* from) { return _mm512_loadu_si512(from); }
inline __m512i Bytes16(const std::byte* from) {
  return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
}
inline __m512 Halves16(const std::byte* from) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
}

constexpr bool HasMin(TileKind kind) { return kind == TileKind::kQ4Min || kind == TileKind::kQ8Min || IsK(kind); }

struct BlockScales {
  __m512 scale;
  __m512 min;
};

inline const std::byte* BlockOf(TileKind kind, const std::byte* weights, int64_t b) {
  return weights + BlockOffset(kind, b) + (IsK(kind) ? kHeaderOfK : 0);
}

// Of 16 rows of block `b`.
inline BlockScales ScalesOf(TileKind kind, const std::byte* weights, int64_t b, int half) {
  const std::byte* const block = BlockOf(kind, weights, b);
  if (IsK(kind)) {
    const std::byte* const header = weights + BlockOffset(kind, FirstOfK(b)) + 32 * half;
    const __m512 scale = _mm512_mul_ps(Halves16(header), _mm512_cvtepi32_ps(Bytes16(block + 16 * half)));
    const __m512 min = _mm512_mul_ps(Halves16(header + 64), _mm512_cvtepi32_ps(Bytes16(block + 32 + 16 * half)));
    return {scale, _mm512_sub_ps(_mm512_setzero_ps(), min)};
  }
  return {Halves16(block + 32 * half), HasMin(kind) ? Halves16(block + 64 + 32 * half) : _mm512_setzero_ps()};
}

// Nibbles of 16 rows as bytes by a table of sixteen, less `zero` of each row.
inline void UnpackNibbles(const std::byte* quants, __m512i table, __m512i zero, std::byte* out) {
  const __m512i nibble = _mm512_set1_epi8(15);
#pragma GCC unroll 4
  for (int g = 0; g < 4; ++g) {
    const __m512i bytes = LoadLine(quants + kLine * g);
    const __m512i low = _mm512_shuffle_epi8(table, _mm512_and_si512(bytes, nibble));
    const __m512i high = _mm512_shuffle_epi8(table, _mm512_and_si512(_mm512_srli_epi16(bytes, 4), nibble));
    _mm512_store_si512(out + kLine * g, _mm512_sub_epi8(low, zero));
    _mm512_store_si512(out + kLine * (4 + g), _mm512_sub_epi8(high, zero));
  }
}

// Every lane is asked for: GCC 12 takes what the plain intrinsic leaves undefined for a mistake (GCC bug 105593).
inline __m512i Table(__m128i codes) { return _mm512_maskz_broadcast_i32x4(0xffff, codes); }

void UnpackFp4(const std::byte* weights, int64_t first, int64_t last, std::byte* out) {
  const __m512i twice = Table(_mm_setr_epi8(0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12));
  for (int64_t b = first; b < last; ++b) {
    const std::byte* const pair = weights + b / 2 * kFp4PairBytes;
    const std::byte* scales = pair + 32 * (b % 2);
    const std::byte* quants = pair + 64 + 512 * (b % 2);
    for (int half = 0; half < 2; ++half, quants += 256, scales += 16, out += kUnpackedFp4Bytes) {
      UnpackNibbles(quants, twice, _mm512_setzero_si512(), out);
      const __m512i bits = _mm512_slli_epi32(Bytes16(scales), 23);
      _mm512_store_si512(out + kHalfBytes, _mm512_max_epi32(bits, _mm512_set1_epi32(0x00400000)));
    }
  }
}

void UnpackTwoPlanes(TileKind kind, const std::byte* weights, int64_t first, int64_t last, std::byte* out) {
  const __m512i same = Table(_mm_setr_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
  const __m512i sign = _mm512_set1_epi8(-128);
  for (int64_t b = first; b < last; ++b) {
    const std::byte* const block = BlockOf(kind, weights, b);
    for (int half = 0; half < 2; ++half, out += kUnpackedTwoPlaneBytes) {
      const BlockScales scales = ScalesOf(kind, weights, b, half);
      _mm512_store_ps(out + kHalfBytes, scales.scale);
      _mm512_store_ps(out + kHalfBytes + kLine, scales.min);
      const std::byte* const quants = block + ScaleBytes(kind) + half * HalfQuantBytes(kind);
      if (HasBytes(kind)) {
        for (int g = 0; g < 8; ++g) {
          _mm512_store_si512(out + kLine * g, _mm512_xor_si512(LoadLine(quants + kLine * g), sign));
        }
        continue;
      }
      const __m512i zero = kind == TileKind::kQ4Zero
                               ? _mm512_mullo_epi32(Bytes16(block + 64 + 16 * half), _mm512_set1_epi32(0x01010101))
                               : _mm512_set1_epi8(kind == TileKind::kQ4Offset ? 8 : 0);
      UnpackNibbles(quants, same, zero, out);
    }
  }
}
