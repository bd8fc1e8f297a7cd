#include "lanes.h"

#include <algorithm>
#include <cstdlib>
#include <thread>

#include "chain.h"

namespace nmc {

namespace {

// Places are followed in blocks of so many bytes, accumulators or slots, by memory.
constexpr std::array<int64_t, kMemories> kBlock = {256, 64, 16, 1};

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
  int64_t operator()(const isa::Drain& drain) const { return 64 + 4 * int64_t{drain.rows} * drain.columns; }
  int64_t operator()(const isa::Mac& mac) const { return 64 + 3 * product(mac.counts); }
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
    const std::array<int64_t, kMemories> sizes = {program.dram_bytes() - constants_, machine.scratchpad_bytes,
                                                  machine.accumulator_entries, machine.table_slots};
    for (size_t m = 0; m < kMemories; ++m) touched_[m].resize(static_cast<size_t>(sizes[m] / kBlock[m] + 1));
    ends_.resize(lanes_.size(), {0});
  }

  void follow(int32_t number, const isa::Command& command, const std::vector<Access>& accesses) {
    Places after{};
    for_each_touch(accesses, [&](Touch& touch, bool writes) {
      if (touch.written > 0) wait_for(after, touch.writer, touch.written);
      for (int lane = 0; writes && lane < count(); ++lane) wait_for(after, lane, touch.read[static_cast<size_t>(lane)]);
    });
    const bool computes = queue_of(command) == static_cast<int>(isa::Queue::kCompute);
    const int lane = takes_stream(command) ? computing_ : first_free(after);
    if (computes) computing_ = lane;
    const int32_t place = append(lane, {number, after}, work_of(command));
    for_each_touch(accesses, [&](Touch& touch, bool writes) {
      if (writes) {
        touch = {lane, place, {}};
      } else {
        touch.read[static_cast<size_t>(lane)] = place;
      }
    });
  }

  std::vector<Lane> take() { return std::move(lanes_); }

 private:
  int count() const { return static_cast<int>(lanes_.size()); }

  static void wait_for(Places& after, int lane, int32_t place) {
    int32_t& known = after[static_cast<size_t>(lane)];
    known = std::max(known, place);
  }

  // Calls visit for each block of an access, all reads before the writes. Constants have no order.
  template <typename Visit>
  void for_each_touch(const std::vector<Access>& accesses, const Visit& visit) {
    for (const bool writes : {false, true}) {
      for (const Access& access : accesses) {
        if (access.writes != writes) continue;
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
      time = std::max(time, ends_[other][static_cast<size_t>(after[other])]);
    }
    return time;
  }

  int first_free(const Places& after) const {
    int best = 0;
    for (int lane = 1; lane < count(); ++lane) {
      if (beginning(lane, after) < beginning(best, after)) best = lane;
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
  int computing_ = 0;  // the lane of the last command of the compute queue
};

int number_in(const char* variable) {
  const char* text = std::getenv(variable);
  return text ? std::atoi(text) : 0;
}

}  // namespace

int thread_count() {
  for (const char* variable : {"NMC_THREADS", "TVM_NUM_THREADS", "OMP_NUM_THREADS"}) {
    if (const int number = number_in(variable); number > 0) return std::min(number, kMostLanes - 1);
  }
  return std::clamp(static_cast<int>(std::thread::hardware_concurrency()), 1, kMostLanes - 1);
}

std::vector<Lane> plan_lanes(const Program& program, std::string_view constants, int threads) {
  const int count = threads == 1 ? 1 : std::min(threads + 1, kMostLanes);
  int64_t work = 0;
  for (const isa::Command& command : program.commands) work += work_of(command);
  Planner planner(program, work < kLittleWork ? 1 : count);
  for (size_t i = 0; i < program.commands.size(); ++i) {
    const isa::Command& command = program.commands[i];
    if (!executes(command)) continue;
    planner.follow(static_cast<int32_t>(i), command, accesses_of(command, program, constants));
  }
  return planner.take();
}

}  // namespace nmc
