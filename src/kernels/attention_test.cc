#include <gtest/gtest.h>

#include <limits>
#include <numeric>

#include "kernels/test_support.h"

namespace gannet {
namespace {

using namespace testing_support;

struct Heads {
  int64_t query_heads;
  int64_t kv_heads;
  int64_t key_dim;
  int64_t value_dim;
  KvType type;
};
constexpr Heads kHeads[] = {{9, 3, 64, 64, KvType::kF16},    {4, 4, 10, 10, KvType::kF32},
                            {6, 2, 192, 128, KvType::kBF16}, {8, 1, 128, 128, KvType::kF32},
                            {7, 1, 33, 17, KvType::kF16},    {2, 1, 16, 96, KvType::kBF16},
                            {6, 3, 40, 24, KvType::kFp8},    {9, 3, 33, 48, KvType::kInt8}};

// Sequences with their cache; all memory that holds no token is NaN (all bits set) in every type.
struct Case {
  Heads heads;
  std::vector<std::byte> memory;
  KvPages pages;
  std::vector<std::vector<int32_t>> tables;
  std::vector<AttentionSequence> sequences;
  std::vector<KeySpan> spans;
  std::vector<float> q;

  int64_t rows() const { return static_cast<int64_t>(spans.size()); }
};

struct SequencePlan {
  int64_t start;   // position of the first row
  int64_t rows;    // row i sees positions up to start + i
  int64_t window;  // 0: all
};

void Fill(Case& c, const Heads& heads, const std::vector<SequencePlan>& plans, const Kernels& store, ThreadPool& pool) {
  c.heads = heads;
  c.pages.layout = {heads.kv_heads, heads.key_dim, heads.value_dim, heads.type};
  ASSERT_EQ(c.pages.layout.block_bytes() % 64, 0);
  c.pages.block_stride = c.pages.layout.block_bytes() + 128;
  int64_t blocks = 1;
  for (const SequencePlan& plan : plans) blocks += (plan.start + plan.rows + 63) / 64;
  c.memory.assign(static_cast<size_t>(blocks * c.pages.block_stride + 64), std::byte{0xff});
  c.pages.base = c.memory.data() + (64 - reinterpret_cast<uintptr_t>(c.memory.data()) % 64) % 64;
  std::vector<int32_t> order(static_cast<size_t>(blocks));
  std::iota(order.begin(), order.end(), 0);
  std::shuffle(order.begin(), order.end(), std::mt19937(5));

  size_t next = 0;
  uint32_t seed = 100;
  for (const SequencePlan& plan : plans) {
    const int64_t tokens = plan.start + plan.rows;
    std::vector<int32_t> table;
    for (int64_t b = 0; b * 64 < tokens; ++b) table.push_back(order[next++]);
    std::vector<int64_t> slots;
    for (int64_t p = 0; p < tokens; ++p) slots.push_back(int64_t{table[static_cast<size_t>(p / 64)]} * 64 + p % 64);
    const std::vector<float> keys = RandomFloats(tokens * heads.kv_heads * heads.key_dim, ++seed);
    const std::vector<float> values = RandomFloats(tokens * heads.kv_heads * heads.value_dim, ++seed);
    store.store_kv(
        {keys.data(), heads.kv_heads * heads.key_dim, values.data(), heads.kv_heads * heads.value_dim, slots, c.pages},
        pool);
    c.sequences.push_back({c.rows(), plan.rows, {}});
    int64_t seen = tokens;
    for (int64_t i = 0; i < plan.rows; ++i) {
      const int64_t end = plan.start + i + 1;
      const int64_t begin = plan.window ? std::max<int64_t>(0, end - plan.window) : 0;
      seen = std::min(seen, begin);
      c.spans.push_back({static_cast<int32_t>(begin), static_cast<int32_t>(end)});
    }
    for (int64_t b = 0; b < seen / 64; ++b) table[static_cast<size_t>(b)] = -1;
    c.tables.push_back(table);
  }
  for (size_t i = 0; i < c.tables.size(); ++i) c.sequences[i].blocks = c.tables[i];
  c.q = RandomFloats(c.rows() * heads.query_heads * heads.key_dim, 77, 2.0f);
}

std::vector<float> Attend(const Kernels& kernels, const Case& c, ThreadPool& pool) {
  const int64_t width = c.heads.query_heads * c.heads.value_dim;
  std::vector<float> out(static_cast<size_t>(c.rows() * width), 99.0f);
  AttentionArgs args;
  args.q = c.q.data();
  args.q_stride = c.heads.query_heads * c.heads.key_dim;
  args.out = out.data();
  args.out_stride = width;
  args.query_heads = c.heads.query_heads;
  args.scale = 1.0f / std::sqrt(static_cast<float>(c.heads.key_dim));
  args.pages = c.pages;
  args.sequences = c.sequences;
  args.spans = c.spans;
  kernels.attention(args, pool);
  return out;
}

// The same rows, each in a call of its own.
std::vector<float> AttendOneByOne(const Kernels& kernels, const Case& c, ThreadPool& pool) {
  std::vector<float> all;
  for (const AttentionSequence& sequence : c.sequences) {
    for (int64_t row = sequence.row_begin; row < sequence.row_begin + sequence.row_count; ++row) {
      Case single;
      single.heads = c.heads;
      single.pages = c.pages;
      single.sequences = {{0, 1, sequence.blocks}};
      single.spans = {c.spans[static_cast<size_t>(row)]};
      const int64_t width = c.heads.query_heads * c.heads.key_dim;
      single.q.assign(c.q.begin() + row * width, c.q.begin() + (row + 1) * width);
      const std::vector<float> out = Attend(kernels, single, pool);
      all.insert(all.end(), out.begin(), out.end());
    }
  }
  return all;
}

// Prompts, generated rows, windows; contexts below a block, over several blocks, over several pieces.
const std::vector<SequencePlan> kMixed = {{0, 1, 0},  {0, 70, 0},    {1300, 1, 0},  {500, 30, 0},
                                          {63, 2, 0}, {900, 3, 100}, {1100, 1, 64}, {1100, 1, 100}};

// So many pieces that a task takes several of them.
const std::vector<SequencePlan> kLong = {{9000, 1, 0}};

TEST(Attention, EveryTableAgainstTheReference) {
  ThreadPool pool(2);
  for (const Heads& heads : kHeads) {
    if (heads.type == KvType::kInt8) continue;  // rounds on the way: int8_attention_test.cc
    Case c;
    Fill(c, heads, kMixed, *FindKernels("reference"), pool);
    const std::vector<float> want = Attend(*FindKernels("reference"), c, pool);
    for (const Kernels* kernels : FastTables()) {
      const std::vector<float> got = Attend(*kernels, c, pool);
      // Scores of a few units carry errors of a few 2^-22, and so do the weights; values reach about 4.
      for (size_t i = 0; i < got.size(); ++i) {
        ASSERT_NEAR(got[i], want[i], 4 * 16 * 0x1p-22) << kernels->name << " dims " << heads.key_dim << " at " << i;
      }
    }
  }
}

TEST(Attention, RowsDoNotDependOnTheCall) {
  ThreadPool one(1);
  ThreadPool two(2);
  ThreadPool five(5, false);
  const auto check = [&](const Heads& heads, const std::vector<SequencePlan>& plans) {
    Case c;
    Fill(c, heads, plans, *FindKernels("auto"), two);
    for (const Kernels* kernels : FastTables()) {
      const std::vector<float> want = AttendOneByOne(*kernels, c, one);
      EXPECT_TRUE(SameBits(AttendOneByOne(*kernels, c, five), want)) << kernels->name;  // pieces over threads
      EXPECT_TRUE(SameBits(Attend(*kernels, c, one), want)) << kernels->name;
      EXPECT_TRUE(SameBits(Attend(*kernels, c, two), want)) << kernels->name;
      EXPECT_TRUE(SameBits(Attend(*kernels, c, five), want)) << kernels->name;
    }
  };
  for (const Heads& heads : kHeads) {
    check(heads, kMixed);
    check(heads, kLong);
  }
}

TEST(Attention, FastTablesAgreeToTheBit) {
  ThreadPool pool(2);
  for (const Heads& heads : kHeads) {
    Case c;
    Fill(c, heads, kMixed, *FindKernels("auto"), pool);
    const std::vector<float> want = Attend(*FindKernels("auto"), c, pool);
    for (const Kernels* kernels : FastTables()) EXPECT_TRUE(SameBits(Attend(*kernels, c, pool), want)) << kernels->name;
  }
}

TEST(Attention, LaterTokensCannotReachEarlierRows) {
  ThreadPool pool(2);
  for (const Heads& heads : kHeads) {
    Case c;
    Fill(c, heads, {{0, 100, 0}}, *FindKernels("auto"), pool);
    const std::vector<float> clean = Attend(*FindKernels("auto"), c, pool);
    // Token 40 becomes infinite: rows 0..39 must not notice.
    const std::vector<float> bad(static_cast<size_t>(heads.kv_heads * std::max(heads.key_dim, heads.value_dim)),
                                 std::numeric_limits<float>::infinity());
    const int64_t slot = int64_t{c.tables[0][0]} * 64 + 40;
    FindKernels("auto")->store_kv({bad.data(), 0, bad.data(), 0, {&slot, 1}, c.pages}, pool);
    const size_t width = static_cast<size_t>(heads.query_heads * heads.value_dim);
    for (const Kernels* kernels : FastTables()) {
      const std::vector<float> got = Attend(*kernels, c, pool);
      EXPECT_EQ(std::memcmp(got.data(), clean.data(), 40 * width * sizeof(float)), 0);
      EXPECT_FALSE(std::isfinite(got[40 * width]));
    }
  }
}

TEST(Attention, EmptySpansGiveZeros) {
  ThreadPool pool(2);
  for (const Kernels* kernels : AvailableKernels()) {
    Case c;
    Fill(c, kHeads[0], {{0, 5, 0}, {10, 1, 0}}, *kernels, pool);
    const std::vector<float> before = Attend(*kernels, c, pool);
    c.spans[2] = {3, 3};
    c.spans[5] = {0, 0};
    c.tables[1] = {-1};
    c.sequences[1].blocks = c.tables[1];
    const std::vector<float> got = Attend(*kernels, c, pool);
    const size_t width = 9 * 64;
    for (size_t i = 0; i < got.size(); ++i) {
      const bool empty = i / width == 2 || i / width == 5;
      EXPECT_EQ(got[i], empty ? 0.0f : before[i]) << kernels->name;
    }
  }
}

}  // namespace
}  // namespace gannet
