// The array and the drain unit: when the commands of the compute queue begin and are complete.
#ifndef NMC_COMPUTE_UNITS_H_
#define NMC_COMPUTE_UNITS_H_

#include <array>
#include <vector>

#include "cost.h"
#include "footprint.h"
#include "program.h"

namespace nmc {

// A command with the chain behind it, as a unit runs it.
struct Operation {
  enum Unit { kArray, kDrain };

  Unit unit = kArray;
  int64_t cycles = 0;
  WeightsCost weights;
  DelayLines lines;
  std::vector<Access> accesses;
};

class ComputeUnits {
 public:
  explicit ComputeUnits(const isa::Machine& machine) : machine_(machine) {}

  struct Slot {
    int64_t issue, start, end;
  };

  // When an operation that the queue could issue at `ready` would run.
  Slot plan(const Operation& operation, int64_t ready) const;
  // Runs it then.
  void run(const Operation& operation, const Slot& slot);

 private:
  struct Running {
    Operation::Unit unit;
    int64_t read_until, complete;
    std::vector<Access> accesses;
  };

  // The first cycle in which `operation` may touch what it shares with `earlier`; `weights` looks at operand b alone.
  static int64_t clear_of(const Operation& operation, const Running& earlier, bool weights);
  int64_t clear(const Operation& operation, bool weights) const;

  const isa::Machine& machine_;
  std::array<int64_t, 2> free_{};     // when a unit is free
  std::array<int64_t, 2> started_{};  // when its last command began, and the place to wait behind it got free
  int64_t weights_free_ = 0;          // when the next block of weights may fill
  DelayLines lines_;                  // of the last command that used some
  int64_t lines_free_ = 0;            // when these are empty
  std::vector<Running> running_;
};

}  // namespace nmc

#endif  // NMC_COMPUTE_UNITS_H_
