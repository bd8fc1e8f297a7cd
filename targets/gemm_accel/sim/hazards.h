// Proves that the order in which the queues may run is the order of the list, as far as any result depends on it.
#ifndef NMC_HAZARDS_H_
#define NMC_HAZARDS_H_

#include <array>
#include <deque>
#include <map>
#include <vector>

#include "footprint.h"
#include "program.h"

namespace nmc {

// How many commands of each queue are known to be complete.
using Clock = std::array<int64_t, isa::kQueues>;

// Follows the list with one vector clock a queue. Commands of one queue are in order; of two queues only as far as
// semaphores order them: the nth WAIT on a semaphore comes after the nth SIGNAL of it.
class Hazards {
 public:
  explicit Hazards(const Program& program);

  // The next command of the list. Throws ProgramError for a WAIT without a SIGNAL before it, and for an access that
  // another queue's access to the same place may overtake.
  void follow(int64_t number, const isa::Command& command, const std::vector<Access>& accesses);

 private:
  static constexpr int64_t kNever = -1;

  // The last access of each queue to a range: its place in the queue and in the list.
  struct Event {
    int64_t place = kNever;
    int64_t number = kNever;
    bool operator==(const Event& other) const { return place == other.place && number == other.number; }
  };
  struct History {
    std::array<Event, isa::kQueues> written, read;
    bool operator==(const History& other) const { return written == other.written && read == other.read; }
  };

  struct Semaphore {
    int signaller = -1, waiter = -1;  // the queues that use it
    std::deque<Clock> signals;        // what each SIGNAL not yet waited for makes known
  };

  void signal(int64_t number, const isa::Signal& command);
  void wait(int64_t number, const isa::Wait& command);
  void record(int64_t number, int queue, const Access& access, const Range& range);
  void check(int64_t number, int queue, const Access& access, const Range& range, const Event& event, int other,
             const char* did) const;

  const Program& program_;
  Clock issued_{};
  std::array<Clock, isa::kQueues> known_{};
  std::vector<Semaphore> semaphores_;
  // The range from each key to the next has one history; the first key is below every address.
  std::array<std::map<int64_t, History>, kMemories> memories_;
};

}  // namespace nmc

#endif  // NMC_HAZARDS_H_
