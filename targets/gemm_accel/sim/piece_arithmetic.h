// The arithmetic that every result of a piece goes through, with vector instructions where the processor has them.
#ifndef NMC_PIECE_ARITHMETIC_H_
#define NMC_PIECE_ARITHMETIC_H_

#include <cstdint>

namespace nmc {

// results[i] = requantise(sums[i] + biases[i], multipliers[i], shifts[i]); returns whether every sum is one that an
// accumulator of 48 bits holds. The results of others mean nothing.
bool requantise_sums(const int64_t* sums, const int64_t* biases, const int32_t* multipliers, const int32_t* shifts,
                     int64_t count, int64_t* results);

// Saturates each value to -maximum - 1 .. maximum.
void saturate_values(int64_t* values, int64_t count, int64_t maximum);

}  // namespace nmc

#endif  // NMC_PIECE_ARITHMETIC_H_
