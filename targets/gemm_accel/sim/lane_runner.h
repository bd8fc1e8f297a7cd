// Executes lanes in threads, one fewer than there are lanes (but one for one).
#ifndef NMC_LANE_RUNNER_H_
#define NMC_LANE_RUNNER_H_

#include <vector>

#include "lanes.h"
#include "state.h"

namespace nmc {

// Executes all steps; returns false when a command met data that it refuses, and then the memories hold anything.
bool run_lanes(const std::vector<Lane>& lanes, const Program& program, Memories& memories);

}  // namespace nmc

#endif  // NMC_LANE_RUNNER_H_
