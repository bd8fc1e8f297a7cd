// A program's commands shared out among threads: each has a lane of them, which waits for others only where they meet in
// a memory.
#ifndef NMC_LANES_H_
#define NMC_LANES_H_

#include <array>
#include <string_view>
#include <vector>

#include "footprint.h"

namespace nmc {

constexpr int kMostLanes = 4;  // no program measured gained by more

using Places = std::array<int32_t, kMostLanes>;

// A command, and how many steps of each lane have to be complete before it.
struct Step {
  int32_t command = 0;
  Places after{};
};

using Lane = std::vector<Step>;

// How many threads may execute commands: NMC_THREADS, or TVM_NUM_THREADS or OMP_NUM_THREADS, or the processor's.
int thread_count();

// Shares the commands of a valid program out, in its order, each to the lane that can begin it first. Whatever commands
// touch the same place keep their order, so the result is that of the list. There is a lane more than threads, so that
// one is left to go on with when others wait; and one alone for a program with little to do.
std::vector<Lane> plan_lanes(const Program& program, std::string_view constants, int threads);

}  // namespace nmc

#endif  // NMC_LANES_H_
