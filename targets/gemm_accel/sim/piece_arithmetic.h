// The arithmetic that every result of a piece goes through, with vector instructions where the processor has them.
#ifndef NMC_PIECE_ARITHMETIC_H_
#define NMC_PIECE_ARITHMETIC_H_

#include <cstddef>
#include <cstdint>
#include <vector>

namespace nmc {

// The most values of a piece.
constexpr int64_t kPiece = 512;

// results[i] = requantise(sums[i] + biases[i], multipliers[i], shifts[i]); returns whether every sum is one that an
// accumulator of 48 bits holds. The results of others mean nothing.
bool requantise_sums(const int64_t* sums, const int64_t* biases, const int32_t* multipliers, const int32_t* shifts,
                     int64_t count, int64_t* results);

// So many breakpoints leave few enough segments for registers.
constexpr size_t kFewBreakpoints = 3;

// One line of a table: (slope·x + intercept, rounded) >> shift.
struct Segment {
  int64_t intercept = 0;
  int32_t slope = 0;
  int32_t shift = 0;
};

// The segments of values in a uniform table: (value - origin) >> shift, within 0 .. last.
void uniform_addresses(const int64_t* values, int64_t count, int64_t origin, int shift, int64_t last,
                       int64_t* addresses);

// Each value, of 32 bits, becomes what the segment at its address makes of it.
void evaluate_segments(const Segment* segments, const int64_t* addresses, int64_t count, int64_t* values);

// The same for the segments between sorted breakpoints: a value's is the one after all that are not above it.
void evaluate_between(const Segment* segments, const std::vector<int32_t>& breakpoints, int64_t count,
                      int64_t* values);

// results[i] = values[i], saturated to -maximum - 1 .. maximum; the results may be the values.
void saturate_values(const int64_t* values, int64_t count, int64_t maximum, int64_t* results);

// Saturates values to 16 bits and writes them `step` bytes apart.
void store_halves(const int64_t* values, int64_t count, int64_t step, uint8_t* to);

}  // namespace nmc

#endif  // NMC_PIECE_ARITHMETIC_H_
