// Refuses a program before anything of it runs.
#ifndef NMC_VALIDATE_H_
#define NMC_VALIDATE_H_

#include <string_view>

#include "program.h"

namespace nmc {

// Throws ProgramError, naming the command and what is wrong with it, unless
// - every address, extent, type, shift, table slot and semaphore is one that the accelerator has;
// - every table is whole and lies among the constants; constants are never written;
// - streams are produced and consumed by neighbours of the compute queue, with the same type and number of elements;
// - a command's result does not overlap what it still has to read;
// - every WAIT has its SIGNAL before it, and semaphores order all accesses of different queues to one place.
void validate(const Program& program, std::string_view constants);

}  // namespace nmc

#endif  // NMC_VALIDATE_H_
