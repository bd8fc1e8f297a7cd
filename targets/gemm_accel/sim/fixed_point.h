// The arithmetic of nmc/quant/fixed_point.py, on int64.
#ifndef NMC_FIXED_POINT_H_
#define NMC_FIXED_POINT_H_

#include <algorithm>
#include <cstdint>

#include "program.h"

namespace nmc {

// |accumulator| < 2^47, 17 <= shift <= 62; exact, rounding to nearest with ties upward.
inline int64_t requantise(int64_t accumulator, int64_t multiplier, int64_t shift) {
  const int64_t high = accumulator >> 16;
  const int64_t low = accumulator & 0xFFFF;
  return (high * multiplier + ((low * multiplier) >> 16) + (int64_t{1} << (shift - 17))) >> (shift - 16);
}

inline int64_t maximum_of(isa::Type type) {
  return static_cast<int64_t>(~uint64_t{0} >> (65 - 8 * bytes_of(type)));
}

inline int64_t saturate(int64_t value, int64_t maximum) { return std::clamp(value, -maximum - 1, maximum); }

}  // namespace nmc

#endif  // NMC_FIXED_POINT_H_
