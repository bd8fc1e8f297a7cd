// What the fields of a command must be, whatever stands around it.
#ifndef NMC_RULES_H_
#define NMC_RULES_H_

#include <vector>

#include "footprint.h"
#include "program.h"

namespace nmc {

// Throws ProgramError for a type, extent, shift, multiplier, slot or semaphore that the command cannot have.
void check_fields(const isa::Command& command, const isa::Machine& machine);

// Throws ProgramError when an element-wise result overlaps an operand and is not exactly in its place: elements are
// written while later ones are still to be read.
void check_overlap(const isa::Command& command, const std::vector<Access>& accesses);

}  // namespace nmc

#endif  // NMC_RULES_H_
