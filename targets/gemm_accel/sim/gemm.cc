// GEMM. Integer products are summed in double precision, where every partial sum below 2^53 is exact: vector units
// multiply and add doubles far faster than 64-bit integers, and the result is the same to the bit.
#include <algorithm>
#include <cstring>
#include <vector>

#include "errors.h"
#include "state.h"

namespace nmc {

namespace {

constexpr int64_t kRows = 4;      // of a block of sums held in registers
constexpr int64_t kColumns = 12;  // of that block
constexpr int64_t kDepth = 256;   // products summed before they are added to the block's memory

// The depth over which no partial sum of a type's products can reach 2^53.
int64_t exact_depth(isa::Type a, isa::Type b) {
  const int64_t bits = 8 * (bytes_of(a) + bytes_of(b)) - 2;
  return std::min(kDepth, (int64_t{1} << (53 - bits)) - 1);
}

template <typename T>
double read(const uint8_t* from) {
  T value;
  std::memcpy(&value, from, sizeof(T));
  return value;
}

double read(isa::Type type, const uint8_t* from) {
  switch (type) {
    case isa::Type::kI8: return read<int8_t>(from);
    case isa::Type::kI16: return read<int16_t>(from);
    default: return read<int32_t>(from);
  }
}

// Packs [rows, depth] elements into panels of `width` rows, the panel's rows side by side: [panel][depth][width], zero
// beyond the last row. `row` and `step` are the bytes between rows and between neighbours along the depth.
void pack(const uint8_t* from, isa::Type type, int64_t row, int64_t step, int64_t rows, int64_t depth, int64_t width,
          double* to) {
  for (int64_t first = 0; first < rows; first += width) {
    const int64_t count = std::min(width, rows - first);
    for (int64_t d = 0; d < depth; ++d) {
      for (int64_t i = 0; i < width; ++i) {
        *to++ = i < count ? read(type, from + (first + i) * row + d * step) : 0.0;
      }
    }
  }
}

// sums[kRows][kColumns] = Σ over the depth of a[d][i]·b[d][j].
__attribute__((target_clones("avx2,fma", "default"))) void block(const double* a, const double* b, int64_t depth, double* sums) {
  double held[kRows * kColumns] = {};
  for (int64_t d = 0; d < depth; ++d) {
    for (int64_t i = 0; i < kRows; ++i) {
      for (int64_t j = 0; j < kColumns; ++j) held[i * kColumns + j] += a[d * kRows + i] * b[d * kColumns + j];
    }
  }
  std::memcpy(sums, held, sizeof(held));
}

// Adds a product of depth `depth` to the sums; a and b are packed.
void add_product(const double* a, const double* b, int64_t m, int64_t depth, int64_t n, int64_t* sums) {
  for (int64_t i = 0; i < m; i += kRows) {
    for (int64_t j = 0; j < n; j += kColumns) {
      double block_sums[kRows * kColumns];
      block(a + i * depth, b + j * depth, depth, block_sums);
      for (int64_t r = 0; r < std::min(kRows, m - i); ++r) {
        for (int64_t c = 0; c < std::min(kColumns, n - j); ++c) {
          sums[(i + r) * n + j + c] += static_cast<int64_t>(block_sums[r * kColumns + c]);
        }
      }
    }
  }
}

void check_sums(const int64_t* sums, int64_t count) {
  const auto [least, greatest] = std::minmax_element(sums, sums + count);
  for (const int64_t sum : {*least, *greatest}) {
    if (sum >= kAccumulatorLimit || sum <= -kAccumulatorLimit) {
      fail("GEMM reaches a sum of ", sum, ", beyond the 48 bits of an accumulator");
    }
  }
}

int64_t rounded_up(int64_t value, int64_t multiple) { return (value + multiple - 1) / multiple * multiple; }

}  // namespace

void execute(const isa::Gemm& command, State& state) {
  const int64_t m = command.m, k = command.k, n = command.n;
  if (m * n == 0) return;
  int64_t* sums = state.accumulators.data() + command.accumulator;
  if (!command.accumulate) std::fill_n(sums, m * n, 0);
  const int64_t a_bytes = bytes_of(command.a_type), b_bytes = bytes_of(command.b_type);
  const int64_t most = std::min(k, exact_depth(command.a_type, command.b_type));
  std::vector<double> a(static_cast<size_t>(rounded_up(m, kRows) * most));
  std::vector<double> b(static_cast<size_t>(rounded_up(n, kColumns) * most));
  for (int64_t first = 0; first < k; first += most) {
    const int64_t depth = std::min(most, k - first);
    const uint8_t* scratchpad = state.scratchpad.data();
    pack(scratchpad + (command.a + first * a_bytes), command.a_type, command.a_pitch, a_bytes, m, depth, kRows, a.data());
    pack(scratchpad + (command.b + first * command.b_pitch), command.b_type, b_bytes, command.b_pitch, n, depth, kColumns,
         b.data());
    add_product(a.data(), b.data(), m, depth, n, sums);
    check_sums(sums, m * n);
  }
}

}  // namespace nmc
