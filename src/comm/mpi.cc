// Ranks over MPI (Open MPI 4). Every wait is a loop of tests: it ends with a sentence when a rank goes away, and a rank
// with nothing to do sleeps.
#include <fmt/format.h>
#include <mpi.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>

#include "comm/communicator.h"

namespace gannet {
namespace {

using Clock = std::chrono::steady_clock;
constexpr auto kPatience = std::chrono::seconds(120);  // with a rank in the middle of a step

class MpiCommunicator : public Communicator {
 public:
  MpiCommunicator() {
    int provided = 0;
    MPI_Init_thread(nullptr, nullptr, MPI_THREAD_SERIALIZED, &provided);
    if (provided < MPI_THREAD_SERIALIZED) throw CommError("this MPI cannot be called from another thread than main");
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks_);
    MPI_Comm local = MPI_COMM_NULL;
    MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, rank_, MPI_INFO_NULL, &local);
    MPI_Comm_rank(local, &local_rank_);
    MPI_Comm_size(local, &local_ranks_);
    MPI_Comm_free(&local);
  }
  ~MpiCommunicator() override {
    if (!failed_) MPI_Finalize();
  }
  bool failed() const override { return failed_; }
  int rank() const override { return rank_; }
  int ranks() const override { return ranks_; }
  int local_rank() const override { return local_rank_; }
  int local_ranks() const override { return local_ranks_; }

  // Each rank adds up one slice of everybody's values, then all slices go to all.
  void AllReduce(std::span<float> values) override {
    CheckAlive();
    const size_t ranks = static_cast<size_t>(ranks_);
    const size_t slice = (values.size() + ranks - 1) / ranks;
    sent_.assign(slice * ranks, 0.0f);
    std::ranges::copy(values, sent_.begin());
    received_.resize(slice * ranks);
    const int count = static_cast<int>(slice);
    MPI_Request request = MPI_REQUEST_NULL;
    Check(MPI_Ialltoall(sent_.data(), count, MPI_FLOAT, received_.data(), count, MPI_FLOAT, MPI_COMM_WORLD, &request));
    Wait(request);
    for (size_t rank = 1; rank < ranks; ++rank) {
      for (size_t i = 0; i < slice; ++i) received_[i] += received_[rank * slice + i];
    }
    Check(MPI_Iallgather(received_.data(), count, MPI_FLOAT, sent_.data(), count, MPI_FLOAT, MPI_COMM_WORLD, &request));
    Wait(request);
    std::copy_n(sent_.begin(), values.size(), values.begin());
  }

  void Broadcast(std::vector<std::byte>& bytes) override {
    CheckAlive();
    uint64_t size = bytes.size();
    MPI_Request request = MPI_REQUEST_NULL;
    Check(MPI_Ibcast(&size, 1, MPI_UINT64_T, 0, MPI_COMM_WORLD, &request));
    Wait(request, /*idle=*/rank_ > 0);
    bytes.resize(size);
    Check(MPI_Ibcast(bytes.data(), static_cast<int>(size), MPI_BYTE, 0, MPI_COMM_WORLD, &request));
    Wait(request);
  }

  void Gather(std::span<const float> values, std::span<float> all, std::span<const int> counts) override {
    CheckAlive();
    std::vector<int> places(counts.size(), 0);
    for (size_t r = 1; r < counts.size(); ++r) places[r] = places[r - 1] + counts[r - 1];
    MPI_Request request = MPI_REQUEST_NULL;
    Check(MPI_Igatherv(values.data(), static_cast<int>(values.size()), MPI_FLOAT, all.data(), counts.data(),
                       places.data(), MPI_FLOAT, 0, MPI_COMM_WORLD, &request));
    Wait(request);
  }

  [[noreturn]] void Abort(int exit_code) override {
    MPI_Abort(MPI_COMM_WORLD, exit_code);
    std::_Exit(exit_code);
  }

 private:
  void CheckAlive() const {
    if (failed_) throw CommError(fmt::format("rank {} lost the others", rank_));
  }

  void Check(int code) {
    if (code == MPI_SUCCESS) return;
    failed_ = true;
    char text[MPI_MAX_ERROR_STRING] = "";
    int length = 0;
    MPI_Error_string(code, text, &length);
    throw CommError(
        fmt::format("rank {} lost the others: {}", rank_, std::string_view(text, static_cast<size_t>(length))));
  }

  // A thread that waits for its turn in a step spins; one without anything to do sleeps after two milliseconds.
  void Wait(MPI_Request& request, bool idle = false) {
    const Clock::time_point begin = Clock::now();
    for (int64_t turn = 0;; ++turn) {
      int done = 0;
      Check(MPI_Test(&request, &done, MPI_STATUS_IGNORE));
      if (done != 0) return;
      if (turn % 64 != 63) continue;
      const auto waited = Clock::now() - begin;
      if (idle && waited > std::chrono::milliseconds(2)) usleep(100);
      if (!idle && waited > kPatience) {
        failed_ = true;
        throw CommError(fmt::format("rank {} waited {} s for another rank in the middle of a step", rank_,
                                    std::chrono::duration_cast<std::chrono::seconds>(kPatience).count()));
      }
      sched_yield();
    }
  }

  int rank_ = 0, ranks_ = 1, local_rank_ = 0, local_ranks_ = 1;
  bool failed_ = false;
  std::vector<float> sent_, received_;
};

int FromLauncher(const char* name, int otherwise) {
  const char* value = std::getenv(name);
  return value ? std::atoi(value) : otherwise;
}

}  // namespace

bool IsFollower() { return FromLauncher("OMPI_COMM_WORLD_RANK", 0) > 0; }

std::shared_ptr<Communicator> JoinWorld() {
  if (FromLauncher("OMPI_COMM_WORLD_SIZE", 1) == 1) return std::make_shared<Communicator>();
  return std::make_shared<MpiCommunicator>();
}

}  // namespace gannet
