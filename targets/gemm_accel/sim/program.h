// A program as the compiler writes it: commands, the user's tensors, the DRAM plan and the accelerator it is for.
#ifndef NMC_PROGRAM_H_
#define NMC_PROGRAM_H_

#include <string>
#include <string_view>
#include <vector>

#include "isa_generated.h"

namespace nmc {

// An input or output: dense, row-major, at `dram`.
struct Tensor {
  std::string name;
  int64_t dram = 0;
  isa::Type type{};
  std::vector<int64_t> shape;

  int64_t elements() const;
  int64_t bytes() const;
};

// DRAM is `constant_bytes` of constants, read-only, then `arena_bytes` of arena.
struct Program {
  isa::Machine machine;
  int64_t constant_bytes = 0;
  int64_t arena_bytes = 0;
  std::vector<Tensor> inputs;
  std::vector<Tensor> outputs;
  std::vector<isa::Command> commands;

  int64_t dram_bytes() const { return constant_bytes + arena_bytes; }
};

inline int64_t bytes_of(isa::Type type) { return int64_t{1} << static_cast<int>(type); }

// The bytes from one column to the next, of which 0 says that they are dense.
inline int64_t step_of(int32_t step, isa::Type type) { return step == 0 ? bytes_of(type) : step; }

// Throws ProgramError for bytes that are damaged or of another ISA version.
Program parse_program(std::string_view bytes);

// CRC-32 as in zlib (ISO 3309, reflected polynomial 0xEDB88320).
uint32_t crc32(std::string_view bytes);

// The mnemonic of a command, for messages.
const char* mnemonic(const isa::Command& command);

// The queue that executes a command, as an index; the last command of the list, END, stands in the compute queue.
int queue_of(const isa::Command& command);

}  // namespace nmc

#endif  // NMC_PROGRAM_H_
