#include "engine/ranks.h"

#include <cstring>
#include <memory>
#include <type_traits>
#include <vector>

#include "base/result.h"

namespace gannet {
namespace {

enum class Message : uint8_t { kEnd, kCache, kStep };

// Plain values and lists of them, one after another.
class Writer {
 public:
  template <typename T>
  void Put(const T& value) {
    static_assert(std::is_trivially_copyable_v<T>);
    const size_t at = bytes_.size();
    bytes_.resize(at + sizeof(T));
    std::memcpy(bytes_.data() + at, &value, sizeof(T));
  }
  template <typename Range>
  void PutList(const Range& list) {
    Put(static_cast<uint64_t>(list.size()));
    for (const auto& value : list) Put(value);
  }
  std::vector<std::byte>& bytes() { return bytes_; }

 private:
  std::vector<std::byte> bytes_;
};

class Reader {
 public:
  explicit Reader(const std::vector<std::byte>& bytes) : bytes_(bytes) {}
  template <typename T>
  T Get() {
    GANNET_ASSERT(at_ + sizeof(T) <= bytes_.size(), "a message of rank 0 is cut short");
    T value;
    std::memcpy(&value, bytes_.data() + at_, sizeof(T));
    at_ += sizeof(T);
    return value;
  }
  template <typename T>
  std::vector<T> GetList() {
    std::vector<T> list(Get<uint64_t>());
    for (T& value : list) value = Get<T>();
    return list;
  }

 private:
  const std::vector<std::byte>& bytes_;
  size_t at_ = 0;
};

struct SequenceHead {
  int64_t row_begin;
  int64_t row_count;
};

struct ReceivedBatch {
  Batch batch;
  std::vector<std::vector<int32_t>> tables;  // what the batch's sequences look at
};

void ReadBatch(Reader& reader, ReceivedBatch& out) {
  Batch& batch = out.batch;
  batch.tokens = reader.GetList<int32_t>();
  batch.positions = reader.GetList<int32_t>();
  batch.logits_rows = reader.GetList<int64_t>();
  batch.sequences = reader.GetList<BatchSequence>();
  batch.groups.resize(reader.Get<uint64_t>());
  out.tables.clear();
  out.tables.reserve(batch.groups.size() * batch.sequences.size());  // so that none moves
  for (BatchGroup& group : batch.groups) {
    group.slots = reader.GetList<int64_t>();
    group.spans = reader.GetList<KeySpan>();
    group.sequences.clear();
    for (size_t i = 0; i < batch.sequences.size(); ++i) {
      const auto head = reader.Get<SequenceHead>();
      out.tables.push_back(reader.GetList<int32_t>());
      group.sequences.push_back({head.row_begin, head.row_count, out.tables.back()});
    }
  }
}

}  // namespace

void SendStep(Communicator& comm, const Batch& batch, const KvCache& cache, int64_t known) {
  if (cache.id() != known) {
    Writer message;
    message.Put(Message::kCache);
    message.Put(cache.options());
    comm.Broadcast(message.bytes());
  }
  Writer message;
  message.Put(Message::kStep);
  message.PutList(batch.tokens);
  message.PutList(batch.positions);
  message.PutList(batch.logits_rows);
  message.PutList(batch.sequences);
  message.Put(static_cast<uint64_t>(batch.groups.size()));
  for (const BatchGroup& group : batch.groups) {
    message.PutList(group.slots);
    message.PutList(group.spans);
    for (const AttentionSequence& sequence : group.sequences) {
      message.Put(SequenceHead{sequence.row_begin, sequence.row_count});
      message.PutList(sequence.blocks);
    }
  }
  comm.Broadcast(message.bytes());
}

void SendEnd(Communicator& comm) {
  Writer message;
  message.Put(Message::kEnd);
  comm.Broadcast(message.bytes());
}

void Follow(Model& model, Communicator& comm) {
  model.pool().BindCaller();
  std::unique_ptr<KvCache> cache;
  std::vector<std::byte> bytes;
  ReceivedBatch step;
  while (true) {
    comm.Broadcast(bytes);
    Reader reader(bytes);
    switch (reader.Get<Message>()) {
      case Message::kEnd:
        return;
      case Message::kCache:
        cache.reset();
        cache = std::make_unique<KvCache>(model.kv_plan(), reader.Get<KvCacheOptions>());
        break;
      case Message::kStep:
        GANNET_ASSERT(cache, "a cache comes before the first step");
        ReadBatch(reader, step);
        model.ForwardPart(step.batch, *cache);
        break;
    }
  }
}

}  // namespace gannet
