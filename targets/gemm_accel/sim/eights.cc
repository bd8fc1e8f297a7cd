#include "eights.h"

#include <cstring>

#include "state.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace nmc::eights {

#if defined(__x86_64__)

namespace {

#define NMC_EIGHTS __attribute__((target("avx512f")))
#define NMC_EIGHTS_INLINE inline __attribute__((always_inline, target("avx512f")))

constexpr int64_t kLanes = 8;

typedef int64_t Lanes __attribute__((vector_size(64), aligned(8), may_alias));
typedef uint64_t Unsigned __attribute__((vector_size(64), aligned(8), may_alias));
typedef int32_t Words __attribute__((vector_size(32), aligned(4), may_alias));

NMC_EIGHTS_INLINE Lanes of(const int64_t* values) { return *reinterpret_cast<const Lanes*>(values); }

NMC_EIGHTS_INLINE Lanes of(const int32_t* values) {
  return __builtin_convertvector(*reinterpret_cast<const Words*>(values), Lanes);
}

NMC_EIGHTS_INLINE void write(Lanes lanes, int64_t* to) { *reinterpret_cast<Lanes*>(to) = lanes; }

// The products of the low 32 bits, with their signs.
NMC_EIGHTS_INLINE Lanes product(Lanes a, Lanes b) {
  return reinterpret_cast<Lanes>(
      _mm512_maskz_mul_epi32(0xFF, reinterpret_cast<__m512i>(a), reinterpret_cast<__m512i>(b)));
}

// A segment is two numbers of 64 bits: its intercept, and its slope below its shift.
NMC_EIGHTS_INLINE Lanes on_segments(Lanes values, Lanes intercept, Lanes slope) {
  const Lanes shift = reinterpret_cast<Lanes>(reinterpret_cast<Unsigned>(slope) >> 32);
  const Lanes half = ((Lanes{} + 1) << shift) >> 1;
  return (product(slope, values) + intercept + half) >> shift;
}

NMC_EIGHTS_INLINE Lanes gathered(const int64_t* numbers, Lanes addresses) {
  return reinterpret_cast<Lanes>(
      _mm512_mask_i64gather_epi64(_mm512_setzero_si512(), 0xFF, reinterpret_cast<__m512i>(addresses), numbers, 8));
}

NMC_EIGHTS int64_t requantise_lanes(const int64_t* sums, const int64_t* biases, const int32_t* multipliers,
                                    const int32_t* shifts, int64_t count, int64_t* results, bool& fits) {
  Lanes beyond{};
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const Lanes sum = of(sums + i) + of(biases + i), multiplier = of(multipliers + i), shift = of(shifts + i);
    // for the sums that are allowed, 1 .. 2·limit - 1: no bit from the 48th on in it or in the number before it
    const Lanes above = sum + kAccumulatorLimit;
    beyond |= above | (above - 1);
    // as `requantise`; the sum without its low 16 bits fits 32 bits, which is what a product of lanes takes
    const Lanes high = product(sum >> 16, multiplier), low = product(sum & 0xFFFF, multiplier);
    write((high + (low >> 16) + ((Lanes{} + 1) << (shift - 17))) >> (shift - 16), results + i);
  }
  const auto limits = reinterpret_cast<__m512i>(Lanes{} - 2 * kAccumulatorLimit);
  fits = _mm512_test_epi64_mask(reinterpret_cast<__m512i>(beyond), limits) == 0;
  return i;
}

NMC_EIGHTS int64_t saturate_lanes(const int64_t* values, int64_t count, int64_t maximum, int64_t* results) {
  const Lanes most = Lanes{} + maximum, least = -most - 1;
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const Lanes low = of(values + i) > most ? most : of(values + i);
    write(low < least ? least : low, results + i);
  }
  return i;
}

NMC_EIGHTS int64_t halves_lanes(const int64_t* values, int64_t count, int64_t step, uint8_t* to) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const __m128i eight = _mm512_maskz_cvtsepi64_epi16(0xFF, reinterpret_cast<__m512i>(of(values + i)));
    if (step == static_cast<int64_t>(sizeof(int16_t))) {
      std::memcpy(to + i * step, &eight, sizeof(eight));
    } else {
      int16_t each[kLanes];
      std::memcpy(each, &eight, sizeof(eight));
      for (int64_t lane = 0; lane < kLanes; ++lane) std::memcpy(to + (i + lane) * step, &each[lane], sizeof(int16_t));
    }
  }
  return i;
}

NMC_EIGHTS int64_t segments_lanes(const Segment* segments, const int64_t* addresses, int64_t count, int64_t* values) {
  const auto* numbers = reinterpret_cast<const int64_t*>(segments);
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const Lanes address = of(addresses + i) * 2;
    write(on_segments(of(values + i), gathered(numbers, address), gathered(numbers + 1, address)), values + i);
  }
  return i;
}

// The segments stay in registers.
NMC_EIGHTS int64_t few_segments_lanes(const Segment* segments, const int32_t* breakpoints, size_t comparisons,
                                      int64_t count, int64_t* values) {
  const auto* numbers = reinterpret_cast<const int64_t*>(segments);
  Lanes below[kFewBreakpoints], intercepts[kFewBreakpoints + 1], slopes[kFewBreakpoints + 1];
  for (size_t s = 0; s <= comparisons; ++s) {
    intercepts[s] = Lanes{} + numbers[2 * s];
    slopes[s] = Lanes{} + numbers[2 * s + 1];
    if (s < comparisons) below[s] = Lanes{} + (int64_t{breakpoints[s]} - 1);
  }
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const Lanes eight = of(values + i);
    Lanes intercept = intercepts[0], slope = slopes[0];
    for (size_t b = 0; b < comparisons; ++b) {
      const auto beyond = eight > below[b];
      intercept = beyond ? intercepts[b + 1] : intercept;
      slope = beyond ? slopes[b + 1] : slope;
    }
    write(on_segments(eight, intercept, slope), values + i);
  }
  return i;
}

const bool available = __builtin_cpu_supports("avx512f");

}  // namespace

int64_t requantise_sums(const int64_t* sums, const int64_t* biases, const int32_t* multipliers, const int32_t* shifts,
                        int64_t count, int64_t* results, bool& fits) {
  fits = true;
  return available ? requantise_lanes(sums, biases, multipliers, shifts, count, results, fits) : 0;
}

int64_t evaluate_segments(const Segment* segments, const int64_t* addresses, int64_t count, int64_t* values) {
  return available ? segments_lanes(segments, addresses, count, values) : 0;
}

int64_t evaluate_between(const Segment* segments, const std::vector<int32_t>& breakpoints, int64_t count,
                         int64_t* values) {
  return available ? few_segments_lanes(segments, breakpoints.data(), breakpoints.size(), count, values) : 0;
}

int64_t saturate_values(const int64_t* values, int64_t count, int64_t maximum, int64_t* results) {
  return available ? saturate_lanes(values, count, maximum, results) : 0;
}

int64_t store_halves(const int64_t* values, int64_t count, int64_t step, uint8_t* to) {
  return available ? halves_lanes(values, count, step, to) : 0;
}

#else

int64_t requantise_sums(const int64_t*, const int64_t*, const int32_t*, const int32_t*, int64_t, int64_t*, bool& fits) {
  fits = true;
  return 0;
}

int64_t evaluate_segments(const Segment*, const int64_t*, int64_t, int64_t*) { return 0; }

int64_t evaluate_between(const Segment*, const std::vector<int32_t>&, int64_t, int64_t*) { return 0; }

int64_t saturate_values(const int64_t*, int64_t, int64_t, int64_t*) { return 0; }

int64_t store_halves(const int64_t*, int64_t, int64_t, uint8_t*) { return 0; }

#endif

}  // namespace nmc::eights
