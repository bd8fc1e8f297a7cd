// When each command runs. The model, which hardware must reproduce:
//
// - Three queues issue their commands in order. WAIT holds its queue until the semaphore is above zero; SIGNAL raises it
//   when every earlier command of its queue is complete, and holds nothing up.
// - One DRAM port serves load and store queue, a transfer at a time, in the order in which they ask (the load queue
//   first when they ask together). A queue asks for its next transfer at once, while fewer than `outstanding_transfers` of
//   its own are incomplete. A transfer occupies the port for its beats and is complete `dram_latency_cycles` after the last.
// - The array runs GEMM and the element-wise commands, the drain unit DRAIN with its chain, which is issued as one. Each
//   unit holds one command that runs and one that waits; the compute queue issues the next when its unit has room.
// - A command begins when its unit is free and what it reads is there: it waits for the results of earlier commands that
//   overlap its operands, and writes nothing that an earlier command of the other unit still reads or writes. Sums that
//   one GEMM or FILTER adds to another's need no wait: both pass through the same accumulators in order.
// - The cells hold two blocks of weights, one at work and the next, which fills meanwhile at a row of B a cycle: a block of
//   fewer rows than the array has takes so many cycles (the cells below see zeros), and a pass of few rows of A waits for
//   the block behind it. The first block of a GEMM or FILTER fills behind the last pass of the one before.
// - FILTER uses a column of cells for each channel, as a systolic filter does (design W2 of Kung, Why Systolic Architectures?,
//   1982). A streams row by row, a line of a channel a column in each cycle, skewed as sums are, down the columns on wires
//   of its own, so that weights fill meanwhile: through two registers a cell, where sums pass through one, so that the next
//   cell sees the value before. It goes no farther than the last tap; the cells below pass sums on. Between two rows of taps
//   a delay line holds back the rest of a row of A, one value less than the sums have columns. A place of A where no window
//   ends gives no sum.
// - A column can put each of its delay lines behind any cell. They serve rows of taps of one length, for sums of as many
//   columns, at a time: after a FILTER of others, the next begins when the last value has left the lines that it used,
//   2·(taps of a row) + (columns of its sums) - 1 cycles later for each of them.
// - Beside what products need, FILTER needs a register in each cell, wires down the columns with a switch to and from the
//   delay lines, these lines, and a triangle of registers that skews the lines of A.
// - The scratchpad gives or takes a line of each operand in a cycle, whatever the step between its elements: its banks are
//   skewed, so that elements at any constant step lie in different ones. An operand that repeats is read once.
// - Results are there rows + columns - 1 cycles after the last line of operands has entered a unit.
#ifndef NMC_TIMING_H_
#define NMC_TIMING_H_

#include <string_view>
#include <vector>

#include "program.h"

namespace nmc {

struct CommandTiming {
  int64_t start = 0;  // the cycle in which it occupies its unit or the port; of WAIT, when it holds the queue
  int64_t end = 0;    // the cycle in which it is complete
  int64_t busy = 0;   // cycles it occupies its unit or the port; 0 for what runs in the chain of another
  int64_t bytes = 0;  // DRAM bytes it moves
};

struct Timing {
  std::vector<CommandTiming> commands;
  int64_t cycles = 0;
  int64_t array_cycles = 0;  // busy cycles of each
  int64_t drain_cycles = 0;
  int64_t port_cycles = 0;
  int64_t bytes_read = 0;
  int64_t bytes_written = 0;
};

// The timing of a valid program. It depends on no data.
Timing time_program(const Program& program, std::string_view constants);

}  // namespace nmc

#endif  // NMC_TIMING_H_
