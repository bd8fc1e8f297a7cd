#include "piece_arithmetic.h"

#include <algorithm>
#include <cstring>

#include "eights.h"
#include "fixed_point.h"
#include "state.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace nmc {

namespace {

bool portable_requantise(const int64_t* sums, const int64_t* biases, const int32_t* multipliers, const int32_t* shifts,
                         int64_t count, int64_t* results) {
  bool fits = true;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t sum = sums[i] + biases[i];
    fits = fits && sum < kAccumulatorLimit && sum > -kAccumulatorLimit;
    results[i] = requantise(sum, multipliers[i], shifts[i]);
  }
  return fits;
}

void portable_saturate(const int64_t* values, int64_t count, int64_t maximum, int64_t* results) {
  for (int64_t i = 0; i < count; ++i) results[i] = saturate(values[i], maximum);
}

void portable_halves(const int64_t* values, int64_t count, int64_t step, uint8_t* to) {
  for (int64_t i = 0; i < count; ++i) {
    const auto half = static_cast<int16_t>(saturate(values[i], INT16_MAX));
    std::memcpy(to + i * step, &half, sizeof(half));
  }
}

// The shift is of a number that has no sign, which vector units do in one instruction.
inline __attribute__((always_inline)) void uniform_body(const int64_t* values, int64_t count, int64_t origin, int shift,
                                                        int64_t last, int64_t* addresses) {
  constexpr int64_t kBeyond = int64_t{1} << 62;
  const int64_t moved = kBeyond >> shift;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t segment = static_cast<int64_t>(static_cast<uint64_t>(values[i] - origin + kBeyond) >> shift) - moved;
    const int64_t least = segment < 0 ? 0 : segment;
    addresses[i] = least > last ? last : least;
  }
}

inline __attribute__((always_inline)) void compared_body(const int64_t* values, int64_t count,
                                                         const int32_t* breakpoints, size_t comparisons,
                                                         int64_t* addresses) {
  for (int64_t i = 0; i < count; ++i) addresses[i] = 0;
  for (size_t b = 0; b < comparisons; ++b) {
    const int64_t breakpoint = breakpoints[b];
    for (int64_t i = 0; i < count; ++i) addresses[i] += values[i] >= breakpoint;
  }
}

void portable_uniform(const int64_t* values, int64_t count, int64_t origin, int shift, int64_t last,
                      int64_t* addresses) {
  uniform_body(values, count, origin, shift, last, addresses);
}

void portable_compared(const int64_t* values, int64_t count, const int32_t* breakpoints, size_t comparisons,
                       int64_t* addresses) {
  compared_body(values, count, breakpoints, comparisons, addresses);
}

void portable_segments(const Segment* segments, const int64_t* addresses, int64_t count, int64_t* values) {
  for (int64_t i = 0; i < count; ++i) {
    const Segment& segment = segments[addresses[i]];
    const int64_t half = (int64_t{1} << segment.shift) >> 1;
    values[i] = (segment.slope * values[i] + segment.intercept + half) >> segment.shift;
  }
}

void portable_few_segments(const Segment* segments, const int32_t* breakpoints, size_t comparisons, int64_t count,
                           int64_t* values) {
  int64_t addresses[kPiece];
  portable_compared(values, count, breakpoints, comparisons, addresses);
  portable_segments(segments, addresses, count, values);
}

#if defined(__x86_64__)

constexpr int64_t kLanes = 4;

__attribute__((target("avx2"))) void wide_uniform(const int64_t* values, int64_t count, int64_t origin, int shift,
                                                  int64_t last, int64_t* addresses) {
  uniform_body(values, count, origin, shift, last, addresses);
}

__attribute__((target("avx2"))) void wide_compared(const int64_t* values, int64_t count, const int32_t* breakpoints,
                                                   size_t comparisons, int64_t* addresses) {
  compared_body(values, count, breakpoints, comparisons, addresses);
}

// Arithmetic shifts right of 64-bit lanes, which AVX2 has only logical ones for: x + 2^63 has no sign.
__attribute__((target("avx2"))) inline __m256i shift_right(__m256i values, __m256i shifts) {
  const __m256i sign = _mm256_set1_epi64x(INT64_MIN);
  const __m256i moved = _mm256_srlv_epi64(_mm256_xor_si256(values, sign), shifts);
  return _mm256_sub_epi64(moved, _mm256_srlv_epi64(sign, shifts));
}

__attribute__((target("avx2"))) bool wide_requantise(const int64_t* sums, const int64_t* biases,
                                                     const int32_t* multipliers, const int32_t* shifts, int64_t count,
                                                     int64_t* results) {
  const __m256i sixteen = _mm256_set1_epi64x(16), one = _mm256_set1_epi64x(1);
  const __m256i limit = _mm256_set1_epi64x(kAccumulatorLimit);
  __m256i beyond = _mm256_setzero_si256();
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const __m256i sum = _mm256_add_epi64(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(sums + i)),
                                         _mm256_loadu_si256(reinterpret_cast<const __m256i*>(biases + i)));
    const __m256i multiplier =
        _mm256_cvtepi32_epi64(_mm_loadu_si128(reinterpret_cast<const __m128i*>(multipliers + i)));
    const __m256i shift = _mm256_cvtepi32_epi64(_mm_loadu_si128(reinterpret_cast<const __m128i*>(shifts + i)));
    // for the sums that are allowed, 1 .. 2·limit - 1: no bit from the 48th on in it or in the number before it
    const __m256i above = _mm256_add_epi64(sum, limit);
    beyond = _mm256_or_si256(beyond, _mm256_or_si256(above, _mm256_sub_epi64(above, one)));
    // as `requantise`; the sum without its low 16 bits fits 32 bits, which is what a product of lanes takes
    const __m256i high = _mm256_mul_epi32(_mm256_srli_epi64(sum, 16), multiplier);
    const __m256i low = _mm256_mul_epi32(_mm256_and_si256(sum, _mm256_set1_epi64x(0xFFFF)), multiplier);
    const __m256i half = _mm256_sllv_epi64(one, _mm256_sub_epi64(shift, _mm256_set1_epi64x(17)));
    const __m256i total = _mm256_add_epi64(_mm256_add_epi64(high, shift_right(low, sixteen)), half);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(results + i),
                        shift_right(total, _mm256_sub_epi64(shift, sixteen)));
  }
  const bool fits = _mm256_testz_si256(beyond, _mm256_set1_epi64x(-(2 * kAccumulatorLimit))) != 0;
  return portable_requantise(sums + i, biases + i, multipliers + i, shifts + i, count - i, results + i) && fits;
}

__attribute__((target("avx2"))) inline __m256i between(__m256i value, __m256i least, __m256i most) {
  value = _mm256_blendv_epi8(value, most, _mm256_cmpgt_epi64(value, most));
  return _mm256_blendv_epi8(value, least, _mm256_cmpgt_epi64(least, value));
}

__attribute__((target("avx2"))) void wide_saturate(const int64_t* values, int64_t count, int64_t maximum,
                                                   int64_t* results) {
  const __m256i most = _mm256_set1_epi64x(maximum), least = _mm256_set1_epi64x(-maximum - 1);
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const __m256i four = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(values + i));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(results + i), between(four, least, most));
  }
  portable_saturate(values + i, count - i, maximum, results + i);
}

__attribute__((target("avx2"))) void wide_halves(const int64_t* values, int64_t count, int64_t step, uint8_t* to) {
  const __m256i most = _mm256_set1_epi64x(INT16_MAX), least = _mm256_set1_epi64x(INT16_MIN);
  const __m256i low_words = _mm256_setr_epi32(0, 2, 4, 6, 0, 2, 4, 6);
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const __m256i four = between(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(values + i)), least, most);
    const __m128i words = _mm256_castsi256_si128(_mm256_permutevar8x32_epi32(four, low_words));
    const int64_t halves = _mm_cvtsi128_si64(_mm_packs_epi32(words, words));
    if (step == static_cast<int64_t>(sizeof(int16_t))) {
      std::memcpy(to + i * step, &halves, sizeof(halves));
    } else {
      for (int64_t lane = 0; lane < kLanes; ++lane) {
        const auto half = static_cast<int16_t>(halves >> (16 * lane));
        std::memcpy(to + (i + lane) * step, &half, sizeof(half));
      }
    }
  }
  portable_halves(values + i, count - i, step, to + i * step);
}

// Four values become what their segments make of them; of a segment, its slope is below its shift.
__attribute__((target("avx2"))) inline __m256i on_segments(__m256i values, __m256i intercept, __m256i slope) {
  const __m256i shift = _mm256_srli_epi64(slope, 32);
  const __m256i half = _mm256_srli_epi64(_mm256_sllv_epi64(_mm256_set1_epi64x(1), shift), 1);
  const __m256i product = _mm256_mul_epi32(slope, values);
  return shift_right(_mm256_add_epi64(_mm256_add_epi64(product, intercept), half), shift);
}

// A segment is two numbers of 64 bits: its intercept, and its slope below its shift.
__attribute__((target("avx2"))) void wide_segments(const Segment* segments, const int64_t* addresses, int64_t count,
                                                   int64_t* values) {
  static_assert(sizeof(Segment) == 16);
  const auto* numbers = reinterpret_cast<const long long*>(segments);
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const __m256i address = _mm256_slli_epi64(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(addresses + i)), 1);
    const __m256i intercept = _mm256_i64gather_epi64(numbers, address, 8);
    const __m256i slope = _mm256_i64gather_epi64(numbers + 1, address, 8);
    auto* place = reinterpret_cast<__m256i*>(values + i);
    _mm256_storeu_si256(place, on_segments(_mm256_loadu_si256(place), intercept, slope));
  }
  portable_segments(segments, addresses + i, count - i, values + i);
}

// The segments stay in registers, where reading each value's would take most of the time.
__attribute__((target("avx2"))) void wide_few_segments(const Segment* segments, const int32_t* breakpoints,
                                                       size_t comparisons, int64_t count, int64_t* values) {
  const auto* numbers = reinterpret_cast<const long long*>(segments);
  __m256i below[kFewBreakpoints], intercepts[kFewBreakpoints + 1], slopes[kFewBreakpoints + 1];
  for (size_t s = 0; s <= comparisons; ++s) {
    intercepts[s] = _mm256_set1_epi64x(numbers[2 * s]);
    slopes[s] = _mm256_set1_epi64x(numbers[2 * s + 1]);
    if (s < comparisons) below[s] = _mm256_set1_epi64x(int64_t{breakpoints[s]} - 1);
  }
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    auto* place = reinterpret_cast<__m256i*>(values + i);
    const __m256i four = _mm256_loadu_si256(place);
    __m256i intercept = intercepts[0], slope = slopes[0];
    for (size_t b = 0; b < comparisons; ++b) {
      const __m256i beyond = _mm256_cmpgt_epi64(four, below[b]);
      intercept = _mm256_blendv_epi8(intercept, intercepts[b + 1], beyond);
      slope = _mm256_blendv_epi8(slope, slopes[b + 1], beyond);
    }
    _mm256_storeu_si256(place, on_segments(four, intercept, slope));
  }
  portable_few_segments(segments, breakpoints, comparisons, count - i, values + i);
}

const bool wide = __builtin_cpu_supports("avx2");
const auto requantise_piece = wide ? wide_requantise : portable_requantise;
const auto saturate_piece = wide ? wide_saturate : portable_saturate;
const auto halves_piece = wide ? wide_halves : portable_halves;
const auto uniform_piece = wide ? wide_uniform : portable_uniform;
const auto compared_piece = wide ? wide_compared : portable_compared;
const auto segments_piece = wide ? wide_segments : portable_segments;
const auto few_segments_piece = wide ? wide_few_segments : portable_few_segments;

#else

const auto requantise_piece = portable_requantise;
const auto saturate_piece = portable_saturate;
const auto halves_piece = portable_halves;
const auto uniform_piece = portable_uniform;
const auto compared_piece = portable_compared;
const auto segments_piece = portable_segments;
const auto few_segments_piece = portable_few_segments;

#endif

}  // namespace

bool requantise_sums(const int64_t* sums, const int64_t* biases, const int32_t* multipliers, const int32_t* shifts,
                     int64_t count, int64_t* results) {
  bool fits;
  const int64_t i = eights::requantise_sums(sums, biases, multipliers, shifts, count, results, fits);
  if (i == count) return fits;
  return requantise_piece(sums + i, biases + i, multipliers + i, shifts + i, count - i, results + i) && fits;
}

void uniform_addresses(const int64_t* values, int64_t count, int64_t origin, int shift, int64_t last,
                       int64_t* addresses) {
  uniform_piece(values, count, origin, shift, last, addresses);
}

void evaluate_between(const Segment* segments, const std::vector<int32_t>& breakpoints, int64_t count,
                      int64_t* values) {
  if (breakpoints.size() <= kFewBreakpoints) {
    const int64_t i = eights::evaluate_between(segments, breakpoints, count, values);
    if (i < count) few_segments_piece(segments, breakpoints.data(), breakpoints.size(), count - i, values + i);
  } else {
    int64_t addresses[kPiece];
    compared_piece(values, count, breakpoints.data(), breakpoints.size(), addresses);
    evaluate_segments(segments, addresses, count, values);
  }
}

void evaluate_segments(const Segment* segments, const int64_t* addresses, int64_t count, int64_t* values) {
  const int64_t i = eights::evaluate_segments(segments, addresses, count, values);
  if (i < count) segments_piece(segments, addresses + i, count - i, values + i);
}

void saturate_values(const int64_t* values, int64_t count, int64_t maximum, int64_t* results) {
  const int64_t i = eights::saturate_values(values, count, maximum, results);
  if (i < count) saturate_piece(values + i, count - i, maximum, results + i);
}

void store_halves(const int64_t* values, int64_t count, int64_t step, uint8_t* to) {
  const int64_t i = eights::store_halves(values, count, step, to);
  if (i < count) halves_piece(values + i, count - i, step, to + i * step);
}

}  // namespace nmc
