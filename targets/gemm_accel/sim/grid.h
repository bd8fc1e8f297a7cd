// The grid that a transfer walks, its dimensions merged where that changes nothing.
#ifndef NMC_GRID_H_
#define NMC_GRID_H_

#include <algorithm>
#include <array>
#include <cstdint>

#include "isa_generated.h"
#include "program.h"

namespace nmc {

// One dimension: what each step adds to the two addresses (bytes) and to the two bounded coordinates.
struct Dimension {
  int64_t count = 1;
  int64_t dram = 0;
  int64_t scratchpad = 0;
  int64_t y = 0;
  int64_t x = 0;
};

struct Grid {
  std::array<Dimension, 5> dimensions;  // outermost first
  int64_t element_bytes = 1;
  int64_t y_start = 0, y_limit = 0;
  int64_t x_start = 0, x_limit = 0;
  bool empty = false;

  const Dimension& inner() const { return dimensions[4]; }
};

Grid grid_of(const isa::Load& load);
Grid grid_of(const isa::Store& store);
// The grid of one row: the dimension that steps by index has a count of 1.
Grid row_grid_of(const isa::Gather& gather);

// floor(a / b) and ceil(a / b) for b > 0.
inline int64_t floor_divide(int64_t a, int64_t b) { return a / b - (a % b < 0); }
inline int64_t ceil_divide(int64_t a, int64_t b) { return a / b + (a % b > 0); }

// The indices low..high-1 within 0..count-1 whose coordinate start + step·index lies within 0..limit-1.
struct Interval {
  int64_t low, high;
};

inline Interval within(int64_t start, int64_t step, int64_t limit, int64_t count) {
  if (limit == 0) return {0, count};
  if (step == 0) return start >= 0 && start < limit ? Interval{0, count} : Interval{0, 0};
  int64_t low, high;
  if (step == 1) {  // without a division, for nearly all transfers
    low = -start;
    high = limit - start;
  } else if (step > 0) {
    low = ceil_divide(-start, step);
    high = ceil_divide(limit - start, step);
  } else {
    low = floor_divide(start - limit, -step) + 1;
    high = floor_divide(start, -step) + 1;
  }
  low = std::clamp<int64_t>(low, 0, count);
  return {low, std::clamp<int64_t>(high, low, count)};
}

// A line along the innermost dimension: its first element's offsets (bytes) and the elements within bounds.
struct Line {
  int64_t dram, scratchpad;
  Interval inside;
};

// Calls visit(Line) for each line of the grid, in order.
template <typename Visit>
void for_each_line(const Grid& grid, const Visit& visit) {
  if (grid.empty) return;
  const auto& d = grid.dimensions;
  const int64_t count = grid.inner().count;
  for (int64_t i0 = 0; i0 < d[0].count; ++i0) {
    for (int64_t i1 = 0; i1 < d[1].count; ++i1) {
      for (int64_t i2 = 0; i2 < d[2].count; ++i2) {
        const auto sum = [&](int64_t Dimension::* step) {
          return i0 * (d[0].*step) + i1 * (d[1].*step) + i2 * (d[2].*step);
        };
        int64_t dram = sum(&Dimension::dram), scratchpad = sum(&Dimension::scratchpad);
        int64_t y_start = grid.y_start + sum(&Dimension::y), x_start = grid.x_start + sum(&Dimension::x);
        for (int64_t i3 = 0; i3 < d[3].count; ++i3) {
          const Interval y = within(y_start, d[4].y, grid.y_limit, count);
          const Interval x = within(x_start, d[4].x, grid.x_limit, count);
          const int64_t low = std::max(y.low, x.low);
          const int64_t high = std::max(low, std::min(y.high, x.high));
          visit(Line{dram, scratchpad, {low, high}});
          dram += d[3].dram, scratchpad += d[3].scratchpad, y_start += d[3].y, x_start += d[3].x;
        }
      }
    }
  }
}

}  // namespace nmc

#endif  // NMC_GRID_H_
