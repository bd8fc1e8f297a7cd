// FILTER. Sums of products of 8- and 16-bit integers are made in double precision, where each is exact: vector units
// multiply and add doubles faster than 64-bit integers, and the result is the same to the bit.
#include <algorithm>
#include <cstring>
#include <vector>

#include "sums.h"

namespace nmc {

namespace {

constexpr int64_t kLanes = 8;      // channels of a vector
constexpr int64_t kVectors = 2;    // of the channels that are filtered together
constexpr int64_t kChannels = kLanes * kVectors;
constexpr int64_t kPositions = 7;  // neighbouring sums held in registers; images are often so many times some wide

typedef double Doubles __attribute__((vector_size(8 * kLanes), aligned(8), may_alias));
typedef int64_t Integers __attribute__((vector_size(8 * kLanes), aligned(8), may_alias));

// So many columns of sums are filtered at a time, which bounds the rows of the image that are held.
constexpr int64_t kStrip = 32 * kPositions;

// Up to kStrip columns of sums, from `left` on, of up to kChannels channels, from `first` on.
struct Part {
  const isa::Filter& command;
  const uint8_t* scratchpad;
  int64_t left, columns;
  int64_t first, channels;

  int64_t taps_high() const { return command.kernel[0]; }
  int64_t taps_wide() const { return command.kernel[1]; }
  int64_t image_columns() const { return columns + taps_wide() - 1; }
  const uint8_t* place(int64_t row, int64_t column) const {
    const int64_t start = command.a + row * command.a_pitches[0] + (left + column) * command.a_pitches[1];
    return scratchpad + start + first * bytes_of(command.a_type);
  }
  const uint8_t* tap(int64_t tap) const {
    return scratchpad + command.b + tap * command.b_pitch + first * bytes_of(command.b_type);
  }
  int64_t sum(int64_t row, int64_t column) const {
    return command.accumulator + (row * command.counts[1] + left + column) * int64_t{command.counts[2]} + first;
  }
};

// The channels at a place as doubles, zero beyond the last.
template <typename T>
inline __attribute__((always_inline)) void read(const uint8_t* from, int64_t channels, double* to) {
  typedef T Narrow __attribute__((vector_size(kLanes * sizeof(T))));
  typedef int32_t Middle __attribute__((vector_size(kLanes * sizeof(int32_t))));
  Narrow values[kVectors] = {};
  if (channels == kChannels) {
    std::memcpy(values, from, sizeof(values));
  } else {
    std::memcpy(values, from, static_cast<size_t>(channels) * sizeof(T));
  }
  for (int64_t v = 0; v < kVectors; ++v) {
    // in two steps, for each of which there is an instruction
    const Middle middle = __builtin_convertvector(values[v], Middle);
    *reinterpret_cast<Doubles*>(to + v * kLanes) = __builtin_convertvector(middle, Doubles);
  }
}

inline __attribute__((always_inline)) void read(const uint8_t* from, isa::Type type, int64_t channels, double* to) {
  type == isa::Type::kI8 ? read<int8_t>(from, channels, to) : read<int16_t>(from, channels, to);
}

// A whole number below 2^51 in magnitude: added to this one, it stands in the lowest bits.
constexpr double kWhole = 6755399441055744.0;  // 2^52 + 2^51
constexpr int64_t kWholeBits = 0x4338000000000000;

// Writes a vector of sums, or adds it to those there; `count` of them are within the channels.
inline __attribute__((always_inline)) void put(Doubles sums, int64_t count, bool accumulate, int64_t* to) {
  const Integers whole = reinterpret_cast<Integers>(sums + kWhole) - kWholeBits;
  if (count == kLanes) {
    Integers* place = reinterpret_cast<Integers*>(to);  // `auto` would lose the alignment
    *place = accumulate ? *place + whole : whole;
    return;
  }
  for (int64_t c = 0; c < count; ++c) to[c] = (accumulate ? to[c] : 0) + whole[c];
}

// `Count` neighbouring sums, from `column` on, of all channels of a part; `lines` are the rows of the image it sees.
template <int64_t Count>
inline __attribute__((always_inline)) void filter_positions(const Part& part, const double* const* lines,
                                                            const double* taps, int64_t column, int64_t* sums) {
  for (int64_t vector = 0; vector * kLanes < part.channels; ++vector) {
    Doubles held[Count] = {};
    const double* tap = taps + vector * kLanes;
    for (int64_t i = 0; i < part.taps_high(); ++i) {
      const double* place = lines[i] + column * kChannels + vector * kLanes;
      for (int64_t j = 0; j < part.taps_wide(); ++j, tap += kChannels, place += kChannels) {
        const Doubles weight = *reinterpret_cast<const Doubles*>(tap);
#pragma GCC unroll 7
        for (int64_t p = 0; p < Count; ++p) held[p] += *reinterpret_cast<const Doubles*>(place + p * kChannels) * weight;
      }
    }
    const int64_t count = std::min(kLanes, part.channels - vector * kLanes);
#pragma GCC unroll 7
    for (int64_t p = 0; p < Count; ++p) {
      put(held[p], count, part.command.accumulate, sums + p * part.command.counts[2] + vector * kLanes);
    }
  }
}

// Up to kPositions neighbouring sums.
template <int64_t Count = kPositions>
inline __attribute__((always_inline)) void filter_up_to(int64_t count, const Part& part, const double* const* lines,
                                                        const double* taps, int64_t column, int64_t* sums) {
  if constexpr (Count > 1) {
    if (count < Count) return filter_up_to<Count - 1>(count, part, lines, taps, column, sums);
  }
  filter_positions<Count>(part, lines, taps, column, sums);
}

// All sums of a part. `image` has room for as many rows of it as there are rows of taps, which take turns there.
inline __attribute__((always_inline)) void filter_body(const Part& part, double* image, double* taps, int64_t* sums) {
  const int64_t high = part.taps_high(), row_size = part.image_columns() * kChannels;
  for (int64_t t = 0; t < high * part.taps_wide(); ++t) {
    read(part.tap(t), part.command.b_type, part.channels, taps + t * kChannels);
  }
  const double* lines[kMostTaps];
  for (int64_t row = 0, ready = 0; row < part.command.counts[0]; ++row) {
    for (; ready < row + high; ++ready) {
      double* line = image + ready % high * row_size;
      for (int64_t x = 0; x < part.image_columns(); ++x) {
        read(part.place(ready, x), part.command.a_type, part.channels, line + x * kChannels);
      }
    }
    for (int64_t i = 0; i < high; ++i) lines[i] = image + (row + i) % high * row_size;
    for (int64_t column = 0; column < part.columns; column += kPositions) {
      const int64_t count = std::min(kPositions, part.columns - column);
      filter_up_to(count, part, lines, taps, column, sums + part.sum(row, column));
    }
  }
}

void portable_filter(const Part& part, double* image, double* taps, int64_t* sums) {
  filter_body(part, image, taps, sums);
}

#if defined(__x86_64__)
__attribute__((target("avx2,fma"))) void wide_filter(const Part& part, double* image, double* taps, int64_t* sums) {
  filter_body(part, image, taps, sums);
}
__attribute__((target("avx2,fma,avx512f"))) void widest_filter(const Part& part, double* image, double* taps,
                                                                int64_t* sums) {
  filter_body(part, image, taps, sums);
}
const auto filter_part = __builtin_cpu_supports("avx512f")                                ? widest_filter
                         : __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? wide_filter
                                                                                           : portable_filter;
#else
const auto filter_part = portable_filter;
#endif

// The first place from `numbers` on where a vector lies within a line of the cache.
double* aligned_vectors(double* numbers) {
  const size_t bytes = sizeof(Doubles), beyond = reinterpret_cast<uintptr_t>(numbers) % bytes;
  return beyond == 0 ? numbers : numbers + (bytes - beyond) / sizeof(double);
}

int64_t value_at(const uint8_t* place, isa::Type type, int64_t index) {
  const auto read_as = [&](auto value) {
    std::memcpy(&value, place + index * static_cast<int64_t>(sizeof(value)), sizeof(value));
    return static_cast<int64_t>(value);
  };
  switch (type) {
    case isa::Type::kI8: return read_as(int8_t{});
    case isa::Type::kI16: return read_as(int16_t{});
    default: return read_as(int32_t{});
  }
}

// All channels of the sum at a place, of values of 32 bits.
void filter_wide(const Part& part, int64_t row, int64_t column, int64_t* sums) {
  const isa::Filter& command = part.command;
  if (!command.accumulate) std::fill_n(sums, part.channels, 0);
  for (int64_t i = 0; i < part.taps_high(); ++i) {
    for (int64_t j = 0; j < part.taps_wide(); ++j) {
      const uint8_t *a = part.place(row + i, column + j), *b = part.tap(i * part.taps_wide() + j);
      for (int64_t c = 0; c < part.channels; ++c) {
        sums[c] += value_at(a, command.a_type, c) * value_at(b, command.b_type, c);
      }
    }
  }
}

// All sums, of values of 8 and 16 bits.
void filter_narrow(const isa::Filter& command, const uint8_t* scratchpad, int64_t* accumulators) {
  static thread_local std::vector<double> numbers;
  const int64_t columns = command.counts[1], channels = command.counts[2], strip = std::min(kStrip, columns);
  const int64_t taps = int64_t{command.kernel[0]} * command.kernel[1];
  const int64_t image = command.kernel[0] * (strip + command.kernel[1] - 1);
  numbers.resize(static_cast<size_t>((taps + image) * kChannels + kLanes));
  double* aligned = aligned_vectors(numbers.data());
  for (int64_t first = 0; first < channels; first += kChannels) {
    for (int64_t left = 0; left < columns; left += strip) {
      const Part part{command, scratchpad, left, std::min(strip, columns - left), first,
                      std::min(kChannels, channels - first)};
      filter_part(part, aligned + taps * kChannels, aligned, accumulators);
    }
  }
}

}  // namespace

void execute(const isa::Filter& command, State& state) {
  const auto [rows, columns, channels] = command.counts;
  int64_t* accumulators = state.accumulators.data();
  const uint8_t* scratchpad = state.scratchpad.data();
  if (command.a_type == isa::Type::kI32) {
    const Part part{command, scratchpad, 0, columns, 0, channels};
    for (int64_t row = 0; row < rows; ++row) {
      for (int64_t column = 0; column < columns; ++column) {
        filter_wide(part, row, column, accumulators + part.sum(row, column));
      }
    }
  } else {
    filter_narrow(command, scratchpad, accumulators);
    if (!command.accumulate) return;  // 1024 products of 31 bits fit
  }
  check_sums(accumulators + command.accumulator, int64_t{rows} * columns * channels, command.mnemonic);
}

}  // namespace nmc
