// Several processes that compute one model together. Rank 0 speaks to users; the others follow it.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <stdexcept>
#include <vector>

namespace gannet {

// A rank that others wait for did not answer, or went away.
class CommError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Every rank calls the same functions in the same order, one thread at a time. All of them throw CommError.
class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual int rank() const { return 0; }
  virtual int ranks() const { return 1; }
  // Of the ranks on this machine.
  virtual int local_rank() const { return 0; }
  virtual int local_ranks() const { return 1; }

  // The sum over all ranks, in place. Added in order of rank: the same bits everywhere and every time.
  virtual void AllReduce(std::span<float>) {}
  // Rank 0's bytes, of any size, reach the others. They may wait for them as long as it takes.
  virtual void Broadcast(std::vector<std::byte>&) {}
  // Everybody's values, one rank's after another's, in `all` of rank 0; counts[r] values of rank r.
  virtual void Gather(std::span<const float> values, std::span<float> all, std::span<const int>) {
    if (all.data() != values.data()) std::copy(values.begin(), values.end(), all.begin());
  }
  // Whether a call has thrown CommError; each later one does at once.
  virtual bool failed() const { return false; }
  // Ends every rank at once, this one too.
  [[noreturn]] virtual void Abort(int exit_code);
};

// Whether a launcher (mpirun) started this process as a rank other than 0; asks nobody.
bool IsFollower();
// The ranks that mpirun started together; one alone without it. Once per process.
std::shared_ptr<Communicator> JoinWorld();

}  // namespace gannet
