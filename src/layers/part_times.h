// Where the time of the forward passes went.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <string_view>

namespace gannet {

enum class Part {
  kProjections,  // of attention, in and out, with norms and rotation
  kIndexer,      // its own projections, and the choice among all keys
  kAttention,    // to keys and values
  kFfn,          // dense and experts, routing among them
  kLmHead,
  kExchange,  // with other ranks, waiting for them among it
  kCount,
};
inline constexpr size_t kParts = static_cast<size_t>(Part::kCount);
inline constexpr std::array<std::string_view, kParts> kPartNames = {"projections", "indexer", "attention",
                                                                    "ffn",         "lm_head", "exchange"};

struct PartTimes {
  std::array<double, kParts> seconds{};
  double& operator[](Part part) { return seconds[static_cast<size_t>(part)]; }
};

// Adds the time until its end to a part.
class PartTimer {
 public:
  PartTimer(PartTimes& times, Part part) : seconds_(times[part]) {}
  ~PartTimer() { seconds_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count(); }
  PartTimer(const PartTimer&) = delete;
  PartTimer& operator=(const PartTimer&) = delete;

 private:
  double& seconds_;
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
};

}  // namespace gannet
