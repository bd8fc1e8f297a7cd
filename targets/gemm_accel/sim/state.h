// The memories of one accelerator, and the commands that change them.
#ifndef NMC_STATE_H_
#define NMC_STATE_H_

#include <algorithm>
#include <cstdint>
#include <vector>

#include "narrow_products.h"
#include "program.h"
#include "table.h"

namespace nmc {

struct Memories {
  Memories(const Program& program, size_t lanes)
      : dram(static_cast<size_t>(program.dram_bytes())),
        scratchpad(static_cast<size_t>(program.machine.scratchpad_bytes + kNarrowSlack)),
        tables(static_cast<size_t>(program.machine.table_slots)),
        accumulators(lanes, std::vector<int64_t>(static_cast<size_t>(program.machine.accumulator_entries))) {}

  // Everything is as at first, the constants excepted.
  void clear(int64_t constant_bytes) {
    std::fill(dram.begin() + constant_bytes, dram.end(), uint8_t{0});
    std::fill(scratchpad.begin(), scratchpad.end(), uint8_t{0});
    std::fill(tables.begin(), tables.end(), Table{});
    for (auto& each : accumulators) std::fill(each.begin(), each.end(), 0);
  }

  std::vector<uint8_t> dram;
  std::vector<uint8_t> scratchpad;
  std::vector<Table> tables;
  std::vector<std::vector<int64_t>> accumulators;  // by lane
};

// What one lane sees: the memories, of which the accumulators are its own, and a stream. That no other lane needs the sums
// that it has, whoever shares the commands out makes sure.
struct State {
  State(const isa::Machine& accelerator, Memories& memories, size_t lane)
      : machine(accelerator),
        dram(memories.dram),
        scratchpad(memories.scratchpad),
        tables(memories.tables),
        accumulators(memories.accumulators[lane]) {}

  const isa::Machine& machine;
  std::vector<uint8_t>& dram;
  std::vector<uint8_t>& scratchpad;
  std::vector<Table>& tables;
  std::vector<int64_t>& accumulators;
  std::vector<int64_t> stream;  // what the last command of a chain left for the next
};

constexpr int64_t kAccumulatorLimit = int64_t{1} << 47;

// A column of the array has no more cells.
constexpr int64_t kMostTaps = 1024;

// Each executes one command completely. Its addresses must be in bounds, as the validator proves; what only the data
// can show (an index, a table's contents, a sum beyond 48 bits) throws ProgramError.
void execute(const isa::Load& command, State& state);
void execute(const isa::Gather& command, State& state);
void execute(const isa::LoadTable& command, State& state);
void execute(const isa::Store& command, State& state);
void execute(const isa::Gemm& command, State& state);
void execute(const isa::Filter& command, State& state);
void execute(const isa::Drain& command, State& state);
void execute(const isa::Hadamard& command, State& state);
void execute(const isa::Add& command, State& state);
void execute(const isa::Pwl& command, State& state);
// The list order of a validated program is one in which no WAIT has to wait.
inline void execute(const isa::Signal&, State&) {}
inline void execute(const isa::Wait&, State&) {}
inline void execute(const isa::End&, State&) {}
inline void execute(const isa::Command& command, State& state) {
  std::visit([&state](const auto& each) { execute(each, state); }, command);
}

}  // namespace nmc

#endif  // NMC_STATE_H_
