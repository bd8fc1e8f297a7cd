// GEMM. Products of 32-bit integers are summed in double precision, where every partial sum below 2^53 is exact: vector
// units multiply and add doubles far faster than 64-bit integers, and the result is the same to the bit. Narrower ones
// have instructions of their own on some processors.
#include <algorithm>
#include <cstring>
#include <vector>

#include "narrow_products.h"
#include "sums.h"

namespace nmc {

namespace {

constexpr int64_t kRows = 6;     // of a block of sums held in registers
constexpr int64_t kColumns = 8;  // of that block
constexpr int64_t kDepth = 256;  // products summed before they are added to the accumulators

// The depth over which no partial sum of a type's products can reach 2^53.
int64_t exact_depth(isa::Type a, isa::Type b) {
  const int64_t bits = 8 * (bytes_of(a) + bytes_of(b)) - 2;
  return std::min(kDepth, (int64_t{1} << (53 - bits)) - 1);
}

// Packs [rows, depth] elements into panels of `Width` rows, a panel's rows side by side: [panel][depth][Width], zero
// beyond the last row.
template <typename T, int64_t Width>
void pack_typed(const Source& source, int64_t rows, int64_t depth, double* to) {
  const auto read = [&](int64_t i, int64_t d) {
    T value;
    std::memcpy(&value, source.data + i * source.row + d * source.step, sizeof(T));
    return static_cast<double>(value);
  };
  for (int64_t first = 0; first < rows; first += Width, to += Width * depth) {
    const int64_t count = std::min(Width, rows - first);
    if (count < Width) std::fill_n(to, Width * depth, 0.0);
    if (source.step == static_cast<int64_t>(sizeof(T))) {
      for (int64_t i = 0; i < count; ++i) {
        for (int64_t d = 0; d < depth; ++d) to[d * Width + i] = read(first + i, d);
      }
    } else {
      for (int64_t d = 0; d < depth; ++d) {
        for (int64_t i = 0; i < count; ++i) to[d * Width + i] = read(first + i, d);
      }
    }
  }
}

template <int64_t Width>
void pack(const Source& source, int64_t rows, int64_t depth, double* to) {
  switch (source.type) {
    case isa::Type::kI8: return pack_typed<int8_t, Width>(source, rows, depth, to);
    case isa::Type::kI16: return pack_typed<int16_t, Width>(source, rows, depth, to);
    default: return pack_typed<int32_t, Width>(source, rows, depth, to);
  }
}

// Four doubles at any address: one register where there are such, halves elsewhere.
typedef double Lanes __attribute__((vector_size(32), aligned(8), may_alias));
constexpr int64_t kLanes = 4;
constexpr int64_t kGroups = kColumns / kLanes;

// sums[kRows][kColumns] = Σ over the depth of a[d][i]·b[d][j].
inline __attribute__((always_inline)) void block_body(const double* a, const double* b, int64_t depth, double* sums) {
  Lanes held[kRows][kGroups] = {};
  for (int64_t d = 0; d < depth; ++d) {
    const Lanes* right = reinterpret_cast<const Lanes*>(b + d * kColumns);
#pragma GCC unroll 6
    for (int64_t i = 0; i < kRows; ++i) {
      const double left = a[d * kRows + i];
#pragma GCC unroll 2
      for (int64_t j = 0; j < kGroups; ++j) held[i][j] += left * right[j];
    }
  }
#pragma GCC unroll 6
  for (int64_t i = 0; i < kRows; ++i) {
#pragma GCC unroll 2
    for (int64_t j = 0; j < kGroups; ++j) *reinterpret_cast<Lanes*>(sums + i * kColumns + j * kLanes) = held[i][j];
  }
}

void portable_block(const double* a, const double* b, int64_t depth, double* sums) { block_body(a, b, depth, sums); }

#if defined(__x86_64__)
__attribute__((target("avx2,fma"))) void wide_block(const double* a, const double* b, int64_t depth, double* sums) {
  block_body(a, b, depth, sums);
}
const auto block = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? wide_block : portable_block;
#else
const auto block = portable_block;
#endif

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

int64_t rounded_up(int64_t value, int64_t multiple) { return (value + multiple - 1) / multiple * multiple; }

// sums[m, n] += a[m, k]·b[k, n] in double precision.
void add_wide_product(const Source& a, const Source& b, int64_t m, int64_t k, int64_t n, int64_t* sums) {
  const int64_t most = std::min(k, exact_depth(a.type, b.type));
  std::vector<double> left(static_cast<size_t>(rounded_up(m, kRows) * most));
  std::vector<double> right(static_cast<size_t>(rounded_up(n, kColumns) * most));
  for (int64_t first = 0; first < k; first += most) {
    const int64_t depth = std::min(most, k - first);
    pack<kRows>(a.from(first), m, depth, left.data());
    pack<kColumns>(b.from(first), n, depth, right.data());
    add_product(left.data(), right.data(), m, depth, n, sums);
    check_sums(sums, m * n, isa::Gemm::mnemonic);
  }
}

// sums[m, n] += a[m, k]·b[k, n] in the narrow product's lanes; without `accumulate` the first product replaces them.
void add_narrow_product(const Source& a, const Source& b, int64_t m, int64_t k, int64_t n, bool accumulate,
                        int64_t* sums) {
  for (int64_t first = 0; first < k; first += kNarrowDepth) {
    const int64_t depth = std::min(kNarrowDepth, k - first);
    if (!narrow_product(a.from(first), b.from(first), m, depth, n, accumulate || first > 0, sums)) {
      check_sums(sums, m * n, isa::Gemm::mnemonic);
    }
  }
}

}  // namespace

void execute(const isa::Gemm& command, State& state) {
  const int64_t m = command.m, k = command.k, n = command.n;
  int64_t* sums = state.accumulators.data() + command.accumulator;
  const uint8_t* scratchpad = state.scratchpad.data();
  const Source a{scratchpad + command.a, command.a_type, command.a_pitch, bytes_of(command.a_type)};
  const Source b{scratchpad + command.b, command.b_type, bytes_of(command.b_type), command.b_pitch};
  if (has_narrow_products(command.a_type, command.b_type)) {
    return add_narrow_product(a, b, m, k, n, command.accumulate, sums);
  }
  if (!command.accumulate) std::fill_n(sums, m * n, 0);
  add_wide_product(a, b, m, k, n, sums);
}

}  // namespace nmc
