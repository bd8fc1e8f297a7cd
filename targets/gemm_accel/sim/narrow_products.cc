// An instruction multiplies eight pairs of 16-bit integers and adds each pair's products in 32 bits. Two factors of 16
// bits would overflow that when more are added, so b is taken apart, b = 256·high + low, and each part has sums of its
// own: |a·low + a·low| <= 2·2^15·255, of which 128 are below 2^31.
#include "narrow_products.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>
#include <vector>

#include "state.h"

#if defined(__x86_64__)
#include <immintrin.h>
#define NMC_WIDE __attribute__((target("avx2")))
#define NMC_WIDEST __attribute__((target("avx2,avx512f,avx512vnni")))
#endif

namespace nmc {

#if defined(__x86_64__)

namespace {

constexpr int64_t kRows = 6;     // of a block of sums held in registers
constexpr int64_t kMostRows = 12;  // where a block is one panel wide and the processor has registers enough
constexpr int64_t kColumns = 8;  // of that block, a register's

// Eight columns of a row of b, of which `count` are within it; those beyond have any values.
NMC_WIDE __m128i eight(const Source& b, int64_t depth, int64_t column, int64_t count) {
  const uint8_t* from = b.data + depth * b.step + column * b.row;
  if (b.type == isa::Type::kI16 && count == kColumns) return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
  if (b.type == isa::Type::kI16) {
    const auto words = static_cast<int>((count + 1) / 2);
    const __m128i within = _mm_cmpgt_epi32(_mm_set1_epi32(words), _mm_setr_epi32(0, 1, 2, 3));
    return _mm_maskload_epi32(reinterpret_cast<const int*>(from), within);
  }
  int16_t values[kColumns] = {};
  for (int64_t j = 0; j < count; ++j) values[j] = static_cast<int8_t>(from[j]);
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(values));
}

// Packs b as [panel][pair along the depth][part][column][2], zero beyond the last depth.
template <int Parts>
NMC_WIDE void pack(const Source& b, int64_t depth, int64_t n, int16_t* to) {
  for (int64_t column = 0; column < n; column += kColumns) {
    const int64_t count = std::min(kColumns, n - column);
    for (int64_t d = 0; d < depth; d += 2) {
      const __m128i first = eight(b, d, column, count);
      const __m128i second = d + 1 < depth ? eight(b, d + 1, column, count) : _mm_setzero_si128();
      const __m256i pairs = _mm256_set_m128i(_mm_unpackhi_epi16(first, second), _mm_unpacklo_epi16(first, second));
      auto* place = reinterpret_cast<__m256i*>(to);
      if constexpr (Parts == 1) {
        _mm256_storeu_si256(place, pairs);
      } else {
        _mm256_storeu_si256(place, _mm256_and_si256(pairs, _mm256_set1_epi16(0xFF)));
        _mm256_storeu_si256(place + 1, _mm256_srai_epi16(pairs, 8));
      }
      to += Parts * 2 * kColumns;
    }
  }
}

// All of the first `count` of four lanes of 64 bits.
inline NMC_WIDE __m256i first_lanes(int64_t count) {
  return _mm256_cmpgt_epi64(_mm256_set1_epi64x(count), _mm256_setr_epi64x(0, 1, 2, 3));
}

// The first `count` of four sums from lanes of the parts, added to what is there; has bits from the 48th on where one is
// too large.
template <int Parts>
inline NMC_WIDE __attribute__((always_inline)) __m256i write_four(const __m128i* parts, bool accumulate, int64_t count,
                                                                  int64_t* sums) {
  __m256i total = _mm256_cvtepi32_epi64(parts[0]);
  if constexpr (Parts == 2) total = _mm256_add_epi64(total, _mm256_slli_epi64(_mm256_cvtepi32_epi64(parts[1]), 8));
  if (count >= 4) {
    auto* place = reinterpret_cast<__m256i*>(sums);
    if (accumulate) total = _mm256_add_epi64(total, _mm256_loadu_si256(place));
    _mm256_storeu_si256(place, total);
  } else {
    auto* place = reinterpret_cast<long long*>(sums);
    const __m256i within = first_lanes(count);
    if (accumulate) total = _mm256_add_epi64(total, _mm256_maskload_epi64(place, within));
    total = _mm256_and_si256(total, within);
    _mm256_maskstore_epi64(place, within, total);
  }
  const __m256i above = _mm256_add_epi64(total, _mm256_set1_epi64x(kAccumulatorLimit));
  return _mm256_or_si256(above, _mm256_sub_epi64(above, _mm256_set1_epi64x(1)));
}

// A panel of b with the rows of a that meet it.
struct Block {
  const uint8_t* a;
  int64_t pitch;  // bytes between rows of a
  const int16_t* b;
  int64_t pairs;
  bool accumulate;
};

template <int Parts>
inline NMC_WIDE __attribute__((always_inline)) bool write_row(const __m256i* held, const Block& block, int64_t columns, int64_t* sums) {
  __m128i low[Parts], high[Parts];
  for (int part = 0; part < Parts; ++part) {
    low[part] = _mm256_castsi256_si128(held[part]);
    high[part] = _mm256_extracti128_si256(held[part], 1);
  }
  __m256i beyond = write_four<Parts>(low, block.accumulate, columns, sums);
  if (columns > 4) {
    beyond = _mm256_or_si256(beyond, write_four<Parts>(high, block.accumulate, columns - 4, sums + 4));
  }
  return _mm256_testz_si256(beyond, _mm256_set1_epi64x(-(2 * kAccumulatorLimit))) != 0;
}

template <int Parts, int Rows>
NMC_WIDE bool multiply(const Block& block, int64_t columns, int64_t n, int64_t* sums) {
  __m256i held[Rows][Parts];
  for (auto& row : held) {
    for (auto& part : row) part = _mm256_setzero_si256();
  }
  const auto* right = reinterpret_cast<const __m256i*>(block.b);
  for (int64_t pair = 0; pair < block.pairs; ++pair, right += Parts) {
#pragma GCC unroll 6
    for (int i = 0; i < Rows; ++i) {
      int32_t two;
      std::memcpy(&two, block.a + i * block.pitch + pair * 4, sizeof(two));
      const __m256i left = _mm256_set1_epi32(two);
#pragma GCC unroll 2
      for (int part = 0; part < Parts; ++part) {
        held[i][part] = _mm256_add_epi32(held[i][part], _mm256_madd_epi16(left, _mm256_loadu_si256(right + part)));
      }
    }
  }
  bool fits = true;
#pragma GCC unroll 6
  for (int i = 0; i < Rows; ++i) fits = write_row<Parts>(held[i], block, columns, sums + i * n) && fits;
  return fits;
}

typedef int64_t Eight __attribute__((vector_size(64)));
typedef int32_t EightParts __attribute__((vector_size(32)));
typedef int32_t BothParts __attribute__((vector_size(64)));

// The first `count` of eight sums, from a register of their low parts below their high ones; whether each fits.
inline NMC_WIDEST __attribute__((always_inline)) bool write_eight(__m512i parts, bool accumulate, int64_t count,
                                                                  int64_t* sums) {
  const auto within = static_cast<__mmask8>((1 << count) - 1);
  const auto all = reinterpret_cast<BothParts>(parts);
  const EightParts low = __builtin_shufflevector(all, all, 0, 1, 2, 3, 4, 5, 6, 7);
  const EightParts high = __builtin_shufflevector(all, all, 8, 9, 10, 11, 12, 13, 14, 15);
  Eight total = __builtin_convertvector(low, Eight) + (__builtin_convertvector(high, Eight) << 8);
  if (accumulate) total += reinterpret_cast<Eight>(_mm512_maskz_loadu_epi64(within, sums));
  _mm512_mask_storeu_epi64(sums, within, reinterpret_cast<__m512i>(total));
  const Eight above = total + kAccumulatorLimit, beyond = above | (above - 1);
  const auto limits = reinterpret_cast<__m512i>(Eight{} - 2 * kAccumulatorLimit);
  return _mm512_mask_test_epi64_mask(within, reinterpret_cast<__m512i>(beyond), limits) == 0;
}

// The same where one register holds both parts of eight columns and one instruction multiplies and adds. That takes some
// cycles, in which others can begin: the sums of two panels are enough for the units never to wait.
template <int Rows, int Panels>
NMC_WIDEST bool multiply_both_parts(const Block& block, int64_t columns, int64_t n, int64_t* sums) {
  __m512i held[Rows][Panels];
  for (auto& row : held) {
    for (auto& panel : row) panel = _mm512_setzero_si512();
  }
  const auto* right = reinterpret_cast<const __m512i*>(block.b);
  for (int64_t pair = 0; pair < block.pairs; ++pair) {
    __m512i both[Panels];
#pragma GCC unroll 2
    for (int panel = 0; panel < Panels; ++panel) both[panel] = _mm512_loadu_si512(right + panel * block.pairs + pair);
#pragma GCC unroll 12
    for (int i = 0; i < Rows; ++i) {
      int32_t two;
      std::memcpy(&two, block.a + i * block.pitch + pair * 4, sizeof(two));
      const __m512i left = _mm512_set1_epi32(two);
#pragma GCC unroll 2
      for (int panel = 0; panel < Panels; ++panel) {
        held[i][panel] = _mm512_dpwssd_epi32(held[i][panel], left, both[panel]);
      }
    }
  }
  bool fits = true;
#pragma GCC unroll 12
  for (int i = 0; i < Rows; ++i) {
#pragma GCC unroll 2
    for (int panel = 0; panel < Panels; ++panel) {
      const int64_t first = panel * kColumns;
      const int64_t count = std::clamp<int64_t>(columns - first, 0, kColumns);
      fits = write_eight(held[i][panel], block.accumulate, count, sums + i * n + first) && fits;
    }
  }
  return fits;
}

using Multiply = bool (*)(const Block&, int64_t columns, int64_t n, int64_t* sums);

// How to multiply blocks of 1 to so many rows, and how many panels at a time.
struct Kernel {
  std::array<Multiply, kMostRows> by_rows;
  int64_t rows, panels;
};

template <int Parts, size_t... Less>
constexpr Kernel by_parts(std::index_sequence<Less...>) {
  return {{multiply<Parts, Less + 1>...}, sizeof...(Less), 1};
}

template <int Panels, size_t... Less>
constexpr Kernel both_parts(std::index_sequence<Less...>) {
  return {{multiply_both_parts<Less + 1, Panels>...}, sizeof...(Less), Panels};
}

bool multiplies_and_adds() {
  static const bool widest = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vnni");
  return widest;
}

template <int Parts>
const Kernel& kernel_for(int64_t n) {
  static constexpr Kernel kSums = by_parts<Parts>(std::make_index_sequence<kRows>());
  static constexpr Kernel kNarrow = both_parts<1>(std::make_index_sequence<kMostRows>());
  static constexpr Kernel kWide = both_parts<2>(std::make_index_sequence<kRows>());
  if (Parts == 1 || !multiplies_and_adds()) return kSums;
  return n <= kColumns ? kNarrow : kWide;
}

template <int Parts>
bool product(const Source& a, const Source& b, int64_t m, int64_t depth, int64_t n, bool accumulate, int64_t* sums) {
  const Kernel& kernel = kernel_for<Parts>(n);
  const int64_t pairs = (depth + 1) / 2, panel = pairs * Parts * 2 * kColumns, width = kernel.panels * kColumns;
  static thread_local std::vector<int16_t> packed;
  packed.resize(static_cast<size_t>((n + width - 1) / width * kernel.panels * panel));
  pack<Parts>(b, depth, n, packed.data());
  const int64_t blocks = (m + kernel.rows - 1) / kernel.rows;
  bool fits = true;
  for (int64_t i = 0, stop = 0, done = 1; done <= blocks; i = stop, ++done) {
    stop = m * done / blocks;
    const Multiply multiply_block = kernel.by_rows[static_cast<size_t>(stop - i - 1)];
    for (int64_t j = 0; j < n; j += width) {
      const Block block{a.data + i * a.row, a.row, packed.data() + j / kColumns * panel, pairs, accumulate};
      fits = multiply_block(block, std::min(width, n - j), n, sums + i * n + j) && fits;
    }
  }
  return fits;
}

// A copy of a matrix of 8 bits with 16, each row an even number of elements long.
Source widened(const Source& a, int64_t m, int64_t depth) {
  static thread_local std::vector<int16_t> copied;
  const int64_t width = depth + depth % 2;
  copied.assign(static_cast<size_t>(m * width), 0);
  for (int64_t i = 0; i < m; ++i) {
    const auto* row = reinterpret_cast<const int8_t*>(a.data + i * a.row);
    std::copy_n(row, depth, copied.begin() + i * width);
  }
  return {reinterpret_cast<const uint8_t*>(copied.data()), isa::Type::kI16, width * bytes_of(isa::Type::kI16),
          bytes_of(isa::Type::kI16)};
}

bool is_narrow(isa::Type type) { return type == isa::Type::kI8 || type == isa::Type::kI16; }

}  // namespace

bool has_narrow_products(isa::Type a, isa::Type b) {
  static const bool wide = __builtin_cpu_supports("avx2");
  return wide && is_narrow(a) && is_narrow(b);
}

bool narrow_product(const Source& a, const Source& b, int64_t m, int64_t depth, int64_t n, bool accumulate,
                    int64_t* sums) {
  const Source left = a.type == isa::Type::kI16 ? a : widened(a, m, depth);
  const bool both_wide = a.type == isa::Type::kI16 && b.type == isa::Type::kI16;
  return both_wide ? product<2>(left, b, m, depth, n, accumulate, sums)
                   : product<1>(left, b, m, depth, n, accumulate, sums);
}

#else

bool has_narrow_products(isa::Type, isa::Type) { return false; }

bool narrow_product(const Source&, const Source&, int64_t, int64_t, int64_t, bool, int64_t*) { return false; }

#endif

}  // namespace nmc
