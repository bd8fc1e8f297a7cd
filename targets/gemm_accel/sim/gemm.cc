// GEMM. Products of 32-bit integers are summed in double precision, where every partial sum below 2^53 is exact: vector
// units multiply and add doubles far faster than 64-bit integers, and the result is the same to the bit. Narrower ones
// have instructions of their own on some processors.
#include <algorithm>
#include <cstring>
#include <vector>

#include "narrow_products.h"
#include "run_copy.h"
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
void add_narrow_product(const Source& a, const Lines& b, int64_t m, int64_t k, int64_t n, bool accumulate,
                        int64_t* sums) {
  for (int64_t first = 0; first < k; first += kNarrowDepth) {
    const int64_t depth = std::min(kNarrowDepth, k - first);
    if (!narrow_product(a.from(first), b.from(first), m, depth, n, accumulate || first > 0, sums)) {
      check_sums(sums, m * n, isa::Gemm::mnemonic);
    }
  }
}

// A count of elements of which each `group` are `pitch` apart, and the groups `group_pitch`.
struct Digits {
  int64_t count, group, pitch, group_pitch;

  bool is_linear() const { return group == count || group_pitch == group * pitch; }
};

// Calls visit with where each group of rows, or of depths, begins and how many it has.
template <typename Visit>
void for_each_group(const Digits& digits, const Visit& visit) {
  int64_t start = 0;
  for (int64_t first = 0; first < digits.count; first += digits.group, start += digits.group_pitch) {
    visit(start, std::min(digits.group, digits.count - first));
  }
}

// Copies a row whose depths are runs of contiguous elements.
template <typename T>
uint8_t* copy_runs(const uint8_t* row, const Digits& depths, uint8_t* to) {
  for_each_group(depths, [&](int64_t start, int64_t count) {
    const int64_t bytes = count * static_cast<int64_t>(sizeof(T));
    copy_run(row + start, bytes, to);
    to += bytes;
  });
  return to;
}

// Copies a row whose depths are that far from its start.
template <typename T>
uint8_t* copy_elements(const uint8_t* row, const std::vector<int64_t>& offsets, uint8_t* to) {
  constexpr size_t kTogether = 4;  // read before they are written: a write could change an offset, for all that is known
  const size_t count = offsets.size();
  const int64_t* const each = offsets.data();
  size_t d = 0;
  for (; d + kTogether <= count; d += kTogether) {
    T together[kTogether];
    for (size_t i = 0; i < kTogether; ++i) std::memcpy(&together[i], row + each[d + i], sizeof(T));
    std::memcpy(to + d * sizeof(T), together, sizeof(together));
  }
  for (; d < count; ++d) std::memcpy(to + d * sizeof(T), row + each[d], sizeof(T));
  return to + count * sizeof(T);
}

// Copies a matrix row by row, elements side by side.
template <typename T>
void copy_matrix(const uint8_t* data, const Digits& rows, const Digits& depths, std::vector<int64_t>& offsets,
                 uint8_t* to) {
  const bool runs = depths.pitch == static_cast<int64_t>(sizeof(T));
  offsets.clear();
  if (!runs) {
    for_each_group(depths, [&](int64_t start, int64_t count) {
      for (int64_t d = 0; d < count; ++d) offsets.push_back(start + d * depths.pitch);
    });
  }
  for_each_group(rows, [&](int64_t start, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
      const uint8_t* row = data + start + i * rows.pitch;
      to = runs ? copy_runs<T>(row, depths, to) : copy_elements<T>(row, offsets, to);
    }
  });
}

// The matrix with these rows and depths; copied to `copy`, row by row, where they are not equally far apart.
Source matrix(const uint8_t* data, isa::Type type, const Digits& rows, const Digits& depths,
              std::vector<int64_t>& offsets, std::vector<uint8_t>& copy) {
  if (rows.is_linear() && depths.is_linear()) return {data, type, rows.pitch, depths.pitch};
  const int64_t bytes = bytes_of(type);
  copy.resize(static_cast<size_t>(rows.count * depths.count * bytes + kNarrowSlack));
  switch (type) {
    case isa::Type::kI8: copy_matrix<int8_t>(data, rows, depths, offsets, copy.data()); break;
    case isa::Type::kI16: copy_matrix<int16_t>(data, rows, depths, offsets, copy.data()); break;
    default: copy_matrix<int32_t>(data, rows, depths, offsets, copy.data());
  }
  return {copy.data(), type, depths.count * bytes, bytes};
}

// Where the rows of a matrix lie, which `places` then holds.
Lines lines_of(const uint8_t* data, isa::Type type, const Digits& rows, std::vector<const uint8_t*>& places) {
  places.resize(static_cast<size_t>(rows.count));
  const uint8_t** place = places.data();
  for_each_group(rows, [&](int64_t start, int64_t count) {
    for (int64_t i = 0; i < count; ++i) *place++ = data + start + i * rows.pitch;
  });
  return {places.data(), type};
}

}  // namespace

void execute(const isa::Gemm& command, State& state) {
  const int64_t m = command.m, k = command.k, n = command.n;
  if (m * n == 0) return;
  int64_t* sums = state.accumulators.data() + command.accumulator;
  const uint8_t* scratchpad = state.scratchpad.data();
  Workspace& workspace = state.workspace;
  const int64_t run = group_of(command.a_run, command.k);
  const Source a = matrix(scratchpad + command.a, command.a_type,
                          {m, group_of(command.a_rows, command.m), command.a_pitch, command.a_group_pitch},
                          {k, run, step_of(command.a_step, command.a_type), command.a_run_pitch},
                          workspace.offsets, workspace.a);
  const Digits depths{k, group_of(command.b_rows, command.k), command.b_pitch, command.b_group_pitch};
  if (k > 0 && has_narrow_products(command.a_type, command.b_type)) {
    const Lines b = lines_of(scratchpad + command.b, command.b_type, depths, workspace.lines);
    return add_narrow_product(a, b, m, k, n, command.accumulate, sums);
  }
  const Source copied = matrix(scratchpad + command.b, command.b_type, depths, {n, n, bytes_of(command.b_type), 0},
                               workspace.offsets, workspace.b);
  const Source b{copied.data, copied.type, copied.step, copied.row};
  if (!command.accumulate) std::fill_n(sums, m * n, 0);
  add_wide_product(a, b, m, k, n, sums);
}

}  // namespace nmc
