#include "lanes.h"

#include <algorithm>
#include <cstdlib>
#include <map>
#include <thread>

#include "chain.h"

namespace nmc {

namespace {

// Places are followed in blocks of so many bytes or slots, by memory; accumulators are not, each lane has its own.
constexpr std::array<int64_t, kMemories> kBlock = {256, 64, 1, 1};

// What it costs, in steps of a vector unit, to have a block from another lane's cache, and to learn that it is done.
constexpr int64_t kFetch = 40;
constexpr int64_t kNews = 6000;

// Below this much work starting threads takes longer than it saves.
constexpr int64_t kLittleWork = 1 << 20;

// About how long a command takes here, in steps of a vector unit.
struct WorkOf {
  static int64_t product(const std::array<uint32_t, 3>& counts) { return int64_t{counts[0]} * counts[1] * counts[2]; }

  template <typename Transfer>
  static int64_t transfer(const Transfer& command) {
    int64_t lines = 1;
    for (int d = 0; d < 4; ++d) lines *= command.counts[d];
    const bool dense = command.dram_strides[4] == command.scratchpad_strides[4];
    return lines * (16 + command.counts[4] / (dense ? 16 : 1));
  }

  int64_t operator()(const isa::Load& load) const { return transfer(load); }
  int64_t operator()(const isa::Store& store) const { return transfer(store); }
  int64_t operator()(const isa::Gather& gather) const { return transfer(gather); }
  int64_t operator()(const isa::Gemm& gemm) const {
    const int64_t sums = int64_t{gemm.m} * gemm.n;
    return 64 + sums + sums * gemm.k / 16;
  }
  int64_t operator()(const isa::Drain& drain) const { return 64 + 4 * product(drain.counts); }
  int64_t operator()(const isa::Filter& filter) const {
    return 64 + (2 + int64_t{filter.kernel[0]} * filter.kernel[1] / 4) * product(filter.counts);
  }
  int64_t operator()(const isa::Hadamard& hadamard) const { return 64 + 3 * product(hadamard.counts); }
  int64_t operator()(const isa::Add& add) const { return 64 + 3 * product(add.counts); }
  int64_t operator()(const isa::Pwl& pwl) const { return 64 + 4 * product(pwl.counts); }
  template <typename Other>
  int64_t operator()(const Other&) const {
    return 16;
  }
};

int64_t work_of(const isa::Command& command) { return std::visit(WorkOf{}, command); }

bool executes(const isa::Command& command) {
  return !std::holds_alternative<isa::Signal>(command) && !std::holds_alternative<isa::Wait>(command) &&
         !std::holds_alternative<isa::End>(command);
}

// Whether a command reads sums that an earlier one left.
struct TakesSums {
  bool operator()(const isa::Gemm& gemm) const { return gemm.accumulate; }
  bool operator()(const isa::Filter& filter) const { return filter.accumulate; }
  bool operator()(const isa::Drain&) const { return true; }
  template <typename Other>
  bool operator()(const Other&) const {
    return false;
  }
};

// Which lane's accumulators hold each sum.
class Owners {
 public:
  static constexpr int kNone = -1, kSeveral = -2;

  // The lane that has all sums of a range that were ever made; kNone if there are none, kSeveral if no lane has all.
  int of(const Range& range) const {
    int found = kNone;
    for (auto each = std::prev(stretches_.upper_bound(range.start));
         each != stretches_.end() && each->first < range.stop; ++each) {
      if (each->second == kNone || each->second == found) continue;
      if (found != kNone) return kSeveral;
      found = each->second;
    }
    return found;
  }

  void give(const Range& range, int lane) {
    const int rest = std::prev(stretches_.upper_bound(range.stop))->second;
    stretches_.erase(stretches_.lower_bound(range.start), stretches_.upper_bound(range.stop));
    stretches_[range.start] = lane;
    stretches_[range.stop] = rest;
  }

 private:
  std::map<int64_t, int> stretches_ = {{0, kNone}};  // by the first place of each
};

// What was done last with a block: who wrote it, and who has read it since; places count from 1.
struct Touch {
  int32_t writer = 0;
  int32_t written = 0;
  Places read{};
};

class Planner {
 public:
  Planner(const Program& program, int count) : constants_(program.constant_bytes), lanes_(static_cast<size_t>(count)) {
    const isa::Machine& machine = program.machine;
    const std::array<int64_t, kMemories> sizes = {program.dram_bytes() - constants_, machine.scratchpad_bytes, 0,
                                                  machine.table_slots};
    for (size_t m = 0; m < kMemories; ++m) touched_[m].resize(static_cast<size_t>(sizes[m] / kBlock[m] + 1));
    ends_.resize(lanes_.size(), {0});
  }

  // False if the command needs sums of which no lane has all: then one lane has to do all of the program.
  bool follow(int32_t number, const isa::Command& command, const std::vector<Access>& accesses) {
    Places after{}, held{};
    for_each_touch(accesses, [&](Touch& touch, bool writes) {
      if (touch.written > 0) {
        wait_for(after, touch.writer, touch.written);
        ++held[static_cast<size_t>(touch.writer)];
      }
      for (int lane = 0; writes && lane < count(); ++lane) wait_for(after, lane, touch.read[static_cast<size_t>(lane)]);
    });
    const Range sums = sums_of(accesses);
    const int owner = std::visit(TakesSums{}, command) ? owners_.of(sums) : Owners::kNone;
    if (owner == Owners::kSeveral) return false;
    const bool computes = queue_of(command) == static_cast<int>(isa::Queue::kCompute);
    const bool chained = takes_stream(command);
    const int lane = chained ? computing_ : owner != Owners::kNone ? owner : best_lane(after, held);
    if (computes) computing_ = lane;
    if (!sums.empty()) owners_.give(sums, lane);
    const int32_t place = append(lane, {number, after}, work_of(command));
    for_each_touch(accesses, [&](Touch& touch, bool writes) {
      if (writes) {
        touch = {lane, place, {}};
      } else {
        touch.read[static_cast<size_t>(lane)] = place;
      }
    });
    return true;
  }

  std::vector<Lane> take() { return std::move(lanes_); }

 private:
  int count() const { return static_cast<int>(lanes_.size()); }

  static void wait_for(Places& after, int lane, int32_t place) {
    int32_t& known = after[static_cast<size_t>(lane)];
    known = std::max(known, place);
  }

  static Range sums_of(const std::vector<Access>& accesses) {
    for (const Access& access : accesses) {
      if (access.memory == Memory::kAccumulators) return access.hull();
    }
    return {};
  }

  // Calls visit for each block of an access to what lanes share, all reads before the writes. Constants have no order.
  template <typename Visit>
  void for_each_touch(const std::vector<Access>& accesses, const Visit& visit) {
    for (const bool writes : {false, true}) {
      for (const Access& access : accesses) {
        if (access.writes != writes || access.memory == Memory::kAccumulators) continue;
        const auto memory = static_cast<size_t>(access.memory);
        const int64_t begin = access.memory == Memory::kDram ? constants_ : 0;
        for (const Range& part : access.parts) {
          if (part.empty() || part.stop <= begin) continue;
          const int64_t first = std::max(part.start - begin, int64_t{0}) / kBlock[memory];
          const int64_t last = (part.stop - 1 - begin) / kBlock[memory];
          for (int64_t block = first; block <= last; ++block) visit(touched_[memory][static_cast<size_t>(block)], writes);
        }
      }
    }
  }

  // When a lane could begin a step: its own work and what it waits for are done.
  int64_t beginning(int lane, const Places& after) const {
    int64_t time = ends_[static_cast<size_t>(lane)].back();
    for (size_t other = 0; other < lanes_.size(); ++other) {
      if (after[other] == 0) continue;
      const int64_t news = static_cast<int>(other) == lane ? 0 : kNews;
      time = std::max(time, ends_[other][static_cast<size_t>(after[other])] + news);
    }
    return time;
  }

  // The lane that would be first to complete a step, of whose blocks each lane wrote so many last.
  int best_lane(const Places& after, const Places& held) const {
    const auto cost = [&](int lane) { return beginning(lane, after) - kFetch * held[static_cast<size_t>(lane)]; };
    int best = 0;
    for (int lane = 1; lane < count(); ++lane) {
      if (cost(lane) < cost(best)) best = lane;
    }
    return best;
  }

  int32_t append(int lane, const Step& step, int64_t work) {
    const auto index = static_cast<size_t>(lane);
    ends_[index].push_back(beginning(lane, step.after) + work);
    lanes_[index].push_back(step);
    return static_cast<int32_t>(lanes_[index].size());
  }

  int64_t constants_;
  std::vector<Lane> lanes_;
  std::vector<std::vector<int64_t>> ends_;  // of a lane, after so many of its steps
  std::array<std::vector<Touch>, kMemories> touched_;
  Owners owners_;
  int computing_ = 0;  // the lane of the last command of the compute queue
};

int number_in(const char* variable) {
  const char* text = std::getenv(variable);
  return text ? std::atoi(text) : 0;
}

}  // namespace

int thread_count() {
  for (const char* variable : {"NMC_THREADS", "TVM_NUM_THREADS", "OMP_NUM_THREADS"}) {
    if (const int number = number_in(variable); number > 0) return std::min(number, kMostLanes - kSpareLanes);
  }
  return std::clamp(static_cast<int>(std::thread::hardware_concurrency()), 1, kMostLanes - kSpareLanes);
}

std::vector<Lane> plan_lanes(const Program& program, std::string_view constants, int threads) {
  const int count = threads == 1 ? 1 : std::min(threads + kSpareLanes, kMostLanes);
  int64_t work = 0;
  for (const isa::Command& command : program.commands) work += work_of(command);
  Planner planner(program, work < kLittleWork ? 1 : count);
  for (size_t i = 0; i < program.commands.size(); ++i) {
    const isa::Command& command = program.commands[i];
    if (!executes(command)) continue;
    if (!planner.follow(static_cast<int32_t>(i), command, accesses_of(command, program, constants))) {
      return plan_lanes(program, constants, 1);
    }
  }
  return planner.take();
}

}  // namespace nmc
