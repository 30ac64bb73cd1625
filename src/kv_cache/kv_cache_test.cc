#include "kv_cache/kv_cache.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>

namespace gannet {
namespace {

KvPlan TestPlan(std::optional<int64_t> window) {
  KvPlan plan;
  plan.groups.push_back({.layout = {1, 4, 4, KvType::kF32}, .window = std::nullopt, .layers = {0, 2}});
  if (window) plan.groups.push_back({.layout = {1, 4, 4, KvType::kF32}, .window = window, .layers = {1}});
  return plan;
}

// What a row's key and value would depend on: its token and everything before it.
std::vector<uint64_t> Histories(const std::vector<int32_t>& tokens) {
  std::vector<uint64_t> histories;
  uint64_t history = 1;
  for (const int32_t token : tokens) {
    history = history * 6364136223846793005u + static_cast<uint64_t>(token) + 1442695040888963407u;
    histories.push_back(history);
  }
  return histories;
}

// Stands for the cache's memory: what was last written to each slot of each group.
class Memory {
 public:
  explicit Memory(const KvPlan& plan) : plan_(plan), slots_(plan.groups.size()) {}

  void Write(const KvSequence& sequence, const std::vector<int32_t>& tokens, int64_t first, int64_t count) {
    const std::vector<uint64_t> histories = Histories(tokens);
    for (size_t g = 0; g < slots_.size(); ++g) {
      for (int64_t p = first; p < first + count; ++p) {
        const int32_t block = sequence.blocks(g)[static_cast<size_t>(p / kBlockTokens)];
        ASSERT_GE(block, 0) << "no place for position " << p;
        slots_[g][block * kBlockTokens + p % kBlockTokens] = histories[static_cast<size_t>(p)];
      }
    }
  }
  // Everything a row at `position` looks at is what this sequence's own tokens wrote, or would have.
  void ExpectReadable(const KvSequence& sequence, const std::vector<int32_t>& tokens, int64_t position) const {
    const std::vector<uint64_t> histories = Histories(tokens);
    for (size_t g = 0; g < slots_.size(); ++g) {
      const std::optional<int64_t> window = plan_.groups[g].window;
      for (int64_t p = window ? std::max<int64_t>(0, position - *window + 1) : 0; p <= position; ++p) {
        const int32_t block = sequence.blocks(g)[static_cast<size_t>(p / kBlockTokens)];
        ASSERT_GE(block, 0) << "group " << g << " lost position " << p << " of " << position;
        ASSERT_EQ(slots_[g].at(block * kBlockTokens + p % kBlockTokens), histories[static_cast<size_t>(p)])
            << "group " << g << ", position " << p;
      }
    }
  }

 private:
  const KvPlan& plan_;
  std::vector<std::map<int64_t, uint64_t>> slots_;
};

struct Live {
  std::unique_ptr<KvSequence> sequence;
  std::vector<int32_t> tokens;
  int64_t written = 0;
};

// Random requests that share prefixes, grow in chunks, draft and roll back, finish or are dropped, in a cache that is
// too small for all of them.
void RandomSchedule(uint32_t seed, std::optional<int64_t> window, bool prefix_cache) {
  std::mt19937 random(seed);
  const auto below = [&](int n) { return static_cast<int>(random() % static_cast<uint32_t>(n)); };
  const KvPlan plan = TestPlan(window);
  KvCache cache(plan, {.tokens = 64 * 40, .running = 6, .step_tokens = 128, .prefix_cache = prefix_cache});
  Memory memory(cache.plan());
  std::vector<Live> live;
  int64_t hits = 0;
  for (int step = 0; step < 600; ++step) {
    if (live.size() < 6 && below(3) == 0) {
      Live made;
      const int length = 1 + below(900);
      const int family = below(3);  // three families of prompts, each a prefix of the next
      for (int i = 0; i < length; ++i) made.tokens.push_back(i < 700 ? family * 1000 + i : below(50));
      if (cache.CanAdmit(made.tokens)) {
        made.sequence = cache.Open(made.tokens);
        made.written = made.sequence->length();
        hits += made.written;
        ASSERT_LT(made.written, length);
        ASSERT_EQ(made.written % kBlockTokens, 0);
        live.push_back(std::move(made));
      }
    }
    if (live.empty()) continue;
    Live& one = live[static_cast<size_t>(below(static_cast<int>(live.size())))];
    const int64_t missing = static_cast<int64_t>(one.tokens.size()) - one.written;
    const int64_t count = std::min<int64_t>(missing, 1 + below(128));
    const std::span<const int32_t> next(one.tokens.data() + one.written, static_cast<size_t>(count));
    if (cache.Append(*one.sequence, next)) {
      memory.Write(*one.sequence, one.tokens, one.written, count);
      for (int64_t p = one.written; p < one.written + count; p += 17) {
        memory.ExpectReadable(*one.sequence, one.tokens, p);
      }
      int64_t keep = count;
      if (missing == count && below(2) == 0) keep = 1 + below(static_cast<int>(count));  // the rest were drafts
      cache.Rollback(*one.sequence, count - keep);
      one.written += keep;
      one.tokens.resize(static_cast<size_t>(std::max<int64_t>(one.written, missing == count ? 0 : one.tokens.size())));
      cache.Commit(*one.sequence, one.written);
      if (one.written == static_cast<int64_t>(one.tokens.size())) one.tokens.push_back(below(50));
    }
    if (below(12) == 0) {
      const size_t victim = static_cast<size_t>(below(static_cast<int>(live.size())));
      cache.Close(std::move(live[victim].sequence));
      live.erase(live.begin() + static_cast<ptrdiff_t>(victim));
    }
    ASSERT_LE(cache.blocks_free(), cache.blocks_total());
  }
  for (Live& one : live) cache.Close(std::move(one.sequence));
  EXPECT_EQ(cache.blocks_free(), cache.blocks_total());
  if (prefix_cache) {
    EXPECT_GT(hits, 0);
  } else {
    EXPECT_EQ(hits, 0);
  }
}

TEST(KvCache, RowsReadWhatTheirOwnTokensWrote) {
  for (uint32_t seed = 0; seed < 20; ++seed) RandomSchedule(seed, std::nullopt, true);
}
TEST(KvCache, WindowsLoseNothingThatIsStillSeen) {
  for (const int64_t window : {1, 16, 64, 65, 200}) {
    for (uint32_t seed = 0; seed < 6; ++seed) RandomSchedule(seed, window, true);
  }
}
TEST(KvCache, WithoutPrefixCache) {
  for (uint32_t seed = 0; seed < 6; ++seed) RandomSchedule(seed, 100, false);
}

TEST(KvCache, WindowGroupsFreeBlocksThatLeftTheWindow) {
  const KvPlan plan = TestPlan(64);
  KvCache cache(plan, {.tokens = 64 * 32, .running = 1, .step_tokens = 64, .prefix_cache = false});
  const std::vector<int32_t> tokens(64 * 30, 7);
  const auto sequence = cache.Open(tokens);
  for (int64_t first = 0; first < 64 * 30; first += 64) {
    ASSERT_TRUE(cache.Append(*sequence, std::span(tokens).subspan(static_cast<size_t>(first), 64)));
    cache.Commit(*sequence, first + 64);
  }
  int held = 0;
  for (const int32_t block : sequence->blocks(1)) held += block >= 0;
  EXPECT_LE(held, 2);
  EXPECT_EQ(std::ranges::count(sequence->blocks(0), -1), 0);
}

TEST(KvCache, FullCacheRefusesAndChangesNothing) {
  const KvPlan plan = TestPlan(std::nullopt);
  KvCache cache(plan, {.tokens = 64 * 4, .running = 1, .step_tokens = 64, .prefix_cache = true});
  const std::vector<int32_t> tokens(64 * 5, 3);
  EXPECT_FALSE(cache.CanAdmit(tokens));
  const auto sequence = cache.Open(tokens);
  EXPECT_FALSE(cache.Append(*sequence, tokens));
  EXPECT_EQ(sequence->length(), 0);
  EXPECT_EQ(cache.blocks_free(), 4);
  EXPECT_TRUE(cache.Append(*sequence, std::span(tokens).first(256)));
  EXPECT_EQ(cache.blocks_free(), 0);
}

TEST(KvCache, FinishedPrefixesAreFoundAgainAndEvictedOldestFirst) {
  const KvPlan plan = TestPlan(std::nullopt);
  KvCache cache(plan, {.tokens = 64 * 4, .running = 2, .step_tokens = 64, .prefix_cache = true});
  const auto run = [&](int32_t token, int64_t length) {
    const std::vector<int32_t> tokens(static_cast<size_t>(length), token);
    auto sequence = cache.Open(tokens);
    const int64_t hit = sequence->length();
    EXPECT_TRUE(cache.Append(*sequence, std::span(tokens).subspan(static_cast<size_t>(hit))));
    cache.Commit(*sequence, length);
    cache.Close(std::move(sequence));
    return hit;
  };
  EXPECT_EQ(run(1, 130), 0);
  EXPECT_EQ(run(1, 130), 128);
  EXPECT_EQ(run(1, 128), 64);  // the last token is always computed: its logits are wanted
  EXPECT_EQ(run(2, 64), 0);
  EXPECT_EQ(run(3, 128), 0);  // needs two blocks: the leaf of 1's goes
  EXPECT_EQ(run(2, 65), 64);
}

// Rows behind the shared tokens depend on more than the tokens before them: nobody finds their blocks, and they find
// nobody's.
TEST(KvCache, SharesOnlyWhatItIsTold) {
  const KvPlan plan = TestPlan(std::nullopt);
  KvCache cache(plan, {.tokens = 64 * 16, .running = 2, .step_tokens = 64, .prefix_cache = true});
  std::vector<int32_t> tokens(64 * 4);
  for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<int32_t>(i);
  const auto run = [&](int64_t shared) {
    auto sequence = cache.Open(tokens, shared);
    const int64_t found = sequence->length();
    EXPECT_TRUE(cache.Append(*sequence, std::span(tokens).subspan(static_cast<size_t>(found))));
    cache.Commit(*sequence, sequence->length());
    cache.Close(std::move(sequence));
    return found;
  };
  EXPECT_EQ(run(130), 0);              // leaves two blocks behind
  EXPECT_EQ(run(KvCache::kAll), 128);  // finds them, leaves all four
  EXPECT_EQ(run(130), 128);
  EXPECT_EQ(run(63), 0);
  EXPECT_EQ(run(KvCache::kAll), 192);
}

}  // namespace
}  // namespace gannet
