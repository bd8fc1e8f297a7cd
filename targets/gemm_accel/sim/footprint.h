// What a command reads and writes: ranges of the memories.
#ifndef NMC_FOOTPRINT_H_
#define NMC_FOOTPRINT_H_

#include <string_view>
#include <vector>

#include "program.h"

namespace nmc {

enum class Memory : uint8_t { kDram, kScratchpad, kAccumulators, kTables };
constexpr int kMemories = 4;

// Bytes, accumulators or slots start..stop-1.
struct Range {
  int64_t start = 0;
  int64_t stop = 0;

  bool empty() const { return start >= stop; }
  bool overlaps(const Range& other) const { return start < other.stop && other.start < stop; }
};

// One operand: the hull of what it touches and, where that has gaps, up to kMostParts ranges that cover it closer.
struct Access {
  Memory memory;
  bool writes;
  const char* operand;  // the field's name, for messages
  std::vector<Range> parts;

  Range hull() const;
};

constexpr int64_t kMostParts = 32;

// All operands that are in a memory; the stream is none. `constants` is the read-only part of DRAM: what LOAD_TABLE reads
// there tells its length. Throws ProgramError for a table that is not there.
std::vector<Access> accesses_of(const isa::Command& command, const Program& program, std::string_view constants);

}  // namespace nmc

#endif  // NMC_FOOTPRINT_H_
