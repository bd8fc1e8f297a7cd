// A program's commands shared out among threads: each has a lane of them, which waits for others only where they meet in
// a memory.
#ifndef NMC_LANES_H_
#define NMC_LANES_H_

#include <array>
#include <string_view>
#include <vector>

#include "footprint.h"

namespace nmc {

constexpr int kMostLanes = 5;  // no program measured gained by more

// Lanes more than threads, left to go on with when others wait.
constexpr int kSpareLanes = 2;

using Places = std::array<int32_t, kMostLanes>;

// A command, and how many steps of each lane have to be complete before it.
struct Step {
  int32_t command = 0;
  Places after{};
};

using Lane = std::vector<Step>;

// How many threads may execute commands: NMC_THREADS, or TVM_NUM_THREADS or OMP_NUM_THREADS, or the processor's.
int thread_count();

// Shares the commands of a valid program out, in its order, each to the lane that can complete it first. Whatever commands
// touch the same place keep their order, so the result is that of the list. Sums stay in the lane that began them, whose
// accumulators are its own. There is one lane alone for a program with little to do, or whose commands take together what
// several lanes would have.
std::vector<Lane> plan_lanes(const Program& program, std::string_view constants, int threads);

}  // namespace nmc

#endif  // NMC_LANES_H_
