#include "validate.h"

#include "chain.h"
#include "errors.h"
#include "footprint.h"
#include "hazards.h"
#include "rules.h"

namespace nmc {

namespace {

Range limits_of(const Access& access, const Program& program) {
  switch (access.memory) {
    case Memory::kDram: return {access.writes ? program.constant_bytes : 0, program.dram_bytes()};
    case Memory::kScratchpad: return {0, program.machine.scratchpad_bytes};
    case Memory::kAccumulators: return {0, program.machine.accumulator_entries};
    case Memory::kTables: return {0, program.machine.table_slots};
  }
  return {};
}

void check_bounds(const Access& access, const Program& program) {
  constexpr const char* kNames[] = {"DRAM bytes ", "scratchpad bytes ", "accumulators ", "table slots "};
  const Range hull = access.hull(), limits = limits_of(access, program);
  if (hull.empty() || (hull.start >= limits.start && hull.stop <= limits.stop)) return;
  const char* name = kNames[static_cast<int>(access.memory)];
  fail("'", access.operand, "' ", access.writes ? "writes " : "reads ", name, hull.start, " to ", hull.stop - 1,
       ", outside the ", name, limits.start, " to ", limits.stop - 1);
}

void check_tensors(const Program& program) {
  for (const auto* tensors : {&program.inputs, &program.outputs}) {
    for (const Tensor& tensor : *tensors) {
      const bool constant = tensors == &program.outputs;  // an output may be a constant that nothing computes
      if (tensor.dram < (constant ? 0 : program.constant_bytes) || tensor.bytes() > program.dram_bytes() ||
          tensor.dram > program.dram_bytes() - tensor.bytes()) {
        fail("'", tensor.name, "' lies at DRAM bytes ", tensor.dram, " to ", tensor.dram + tensor.bytes() - 1,
             ", outside the arena, ", program.constant_bytes, " to ", program.dram_bytes() - 1);
      }
    }
  }
}

}  // namespace

void validate(const Program& program, std::string_view constants) {
  check_tensors(program);
  if (program.commands.empty() || !std::holds_alternative<isa::End>(program.commands.back())) {
    fail("the program does not end with END");
  }
  Hazards hazards(program);
  Chain chain;
  for (size_t i = 0; i < program.commands.size(); ++i) {
    const isa::Command& command = program.commands[i];
    std::vector<Access> accesses;
    try {
      check_fields(command, program.machine);
      const bool ends = std::holds_alternative<isa::End>(command);
      if (ends && i + 1 != program.commands.size()) fail("only the last command is END");
      accesses = accesses_of(command, program, constants);
      for (const Access& access : accesses) check_bounds(access, program);
      check_overlap(command, accesses);
      chain.follow(command);
    } catch (const ProgramError& error) {
      fail("command ", i, " (", mnemonic(command), "): ", error.what());
    }
    hazards.follow(static_cast<int64_t>(i), command, accesses);
  }
}

}  // namespace nmc
