// Whether sums fit their accumulators.
#ifndef NMC_SUMS_H_
#define NMC_SUMS_H_

#include <algorithm>
#include <cstdint>

#include "errors.h"
#include "state.h"

namespace nmc {

inline void check_sum(int64_t sum, const char* command) {
  if (sum >= kAccumulatorLimit || sum <= -kAccumulatorLimit) {
    fail(command, " reaches a sum of ", sum, ", beyond the 48 bits of an accumulator");
  }
}

inline void check_sums(const int64_t* sums, int64_t count, const char* command) {
  const auto [least, greatest] = std::minmax_element(sums, sums + count);
  check_sum(*least, command);
  check_sum(*greatest, command);
}

}  // namespace nmc

#endif  // NMC_SUMS_H_
