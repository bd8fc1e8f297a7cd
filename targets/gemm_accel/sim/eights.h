// The arithmetic of pieces on eight values at a time, for processors with registers of 512 bits.
#ifndef NMC_EIGHTS_H_
#define NMC_EIGHTS_H_

#include <cstdint>
#include <vector>

#include "piece_arithmetic.h"

namespace nmc::eights {

// Each does what its namesake in piece_arithmetic.h does for as many of the first values as are whole eights, and returns
// their count; none where the processor has no such registers. `fits` is what the namesake returns.
int64_t requantise_sums(const int64_t* sums, const int64_t* biases, const int32_t* multipliers, const int32_t* shifts,
                        int64_t count, int64_t* results, bool& fits);
int64_t evaluate_segments(const Segment* segments, const int64_t* addresses, int64_t count, int64_t* values);
// At most kFewBreakpoints.
int64_t evaluate_between(const Segment* segments, const std::vector<int32_t>& breakpoints, int64_t count,
                         int64_t* values);
int64_t saturate_values(const int64_t* values, int64_t count, int64_t maximum, int64_t* results);
int64_t store_halves(const int64_t* values, int64_t count, int64_t step, uint8_t* to);

}  // namespace nmc::eights

#endif  // NMC_EIGHTS_H_
