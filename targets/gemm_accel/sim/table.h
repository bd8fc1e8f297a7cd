// A table of line segments as the table memory holds it, and the address of a value in it.
#ifndef NMC_TABLE_H_
#define NMC_TABLE_H_

#include <cstdint>
#include <string_view>
#include <vector>

#include "piece_arithmetic.h"

namespace nmc {

struct Table {
  enum class Addressing : uint8_t { kUniform, kOctave, kBreakpoints, kBlocks, kOctaveBlocks };

  // A block of the range, divided evenly: its segments have 2^shift integers each, and the last goes on to its end.
  struct Block {
    int64_t first = 0;
    int64_t segments = 0;
    int shift = 0;
  };

  Addressing addressing = Addressing::kUniform;
  bool negative_half = false;  // octaves: a second half of the segments, or of the blocks, is for x < 0
  int shift = 0;
  int mantissa_bits = 0;
  int64_t origin = 0;
  int32_t e_min = 0;
  std::vector<int32_t> breakpoints;
  std::vector<Block> blocks;
  std::vector<Segment> segments;
  int64_t stored_bytes = 0;

  // Each value x, of 32 bits, becomes (slope·x + intercept, rounded) >> shift of its segment, not yet saturated; which
  // segment that is, nmc/quant/fixed_point.py defines. At most kPiece values.
  void evaluate(int64_t* values, int64_t count) const;

 private:
  int64_t octave_address(int64_t x, int64_t count) const;  // among `count` segments, or blocks
  int64_t block_address(int64_t x) const;
  int64_t octave_block_address(int64_t x) const;
};

// The table at the front of `bytes` (see targets/gemm_accel/tables.py); throws ProgramError for one that does not fit
// a slot of `entries` segments, or holds a number that the hardware's fields cannot.
Table parse_table(std::string_view bytes, int64_t entries);

}  // namespace nmc

#endif  // NMC_TABLE_H_
