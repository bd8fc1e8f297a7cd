// Products of matrices of 8- and 16-bit integers, by the vector instructions that multiply and add pairs of them.
#ifndef NMC_NARROW_PRODUCTS_H_
#define NMC_NARROW_PRODUCTS_H_

#include <cstdint>

#include "isa_generated.h"

namespace nmc {

// A matrix in the scratchpad: bytes between its rows (of b: its columns) and between neighbours along the depth.
struct Source {
  const uint8_t* data;
  isa::Type type;
  int64_t row, step;

  Source from(int64_t depth) const { return {data + depth * step, type, row, step}; }
};

// The depth over which their sums of products stay within the 32 bits of a lane.
constexpr int64_t kNarrowDepth = 256;

// Rows of both are read to a multiple of two elements, the last of which counts for nothing: so many bytes have to follow
// the scratchpad.
constexpr int64_t kNarrowSlack = 2;

// Whether the processor has the instructions and the types fit them.
bool has_narrow_products(isa::Type a, isa::Type b);

// sums[m, n] = (accumulate ? sums : 0) + a[m, depth]·b[depth, n], of a depth of at most kNarrowDepth; rows are dense.
// Returns whether each sum is one that an accumulator of 48 bits holds.
bool narrow_product(const Source& a, const Source& b, int64_t m, int64_t depth, int64_t n, bool accumulate,
                    int64_t* sums);

}  // namespace nmc

#endif  // NMC_NARROW_PRODUCTS_H_
