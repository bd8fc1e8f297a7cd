// What a command occupies, taken alone: beats of the DRAM port, cycles of the array or of the drain unit.
#ifndef NMC_COST_H_
#define NMC_COST_H_

#include <string_view>

#include "program.h"

namespace nmc {

struct DramCost {
  int64_t beats = 0;
  int64_t bytes = 0;
  int64_t latencies = 1;  // a GATHER knows its rows only when its indices have arrived
};

// A run of contiguous DRAM bytes takes ⌈bytes / dram_bytes_per_cycle⌉ beats; a beat carries bytes of one run only, and
// elements outside bounds take none. All zero for a command of the compute queue.
DramCost dram_cost(const isa::Command& command, const Program& program, std::string_view constants);

// The cycles that a GEMM, or an element-wise command that takes no stream, occupies the array; a DRAIN the drain unit.
// An operand wider than the multipliers streams once for each `data_bits` of it.
int64_t compute_cycles(const isa::Command& command, const isa::Machine& machine);

// What the cells' second set of weights is occupied by, in cycles; all zero for a command that is neither GEMM nor FILTER.
struct WeightsCost {
  int64_t first_block = 0;  // filling the first block of B
  int64_t last_pass = 0;    // the last pass, behind which the next command's first block may fill
};
WeightsCost weights_cost(const isa::Command& command, const isa::Machine& machine);

// The delay lines between the rows of taps of a FILTER; none for other commands.
struct DelayLines {
  int64_t count = 0;
  int64_t taps = 0;     // of a row, after which a line is put
  int64_t columns = 0;  // of sums, of which it holds back one less

  bool in_place_of(const DelayLines& other) const { return taps == other.taps && columns == other.columns; }
  // How long after the last value has entered the column the last one leaves the lines.
  int64_t emptying_cycles() const { return count * (2 * taps + columns - 1); }
};
DelayLines delay_lines_of(const isa::Command& command);

}  // namespace nmc

#endif  // NMC_COST_H_
