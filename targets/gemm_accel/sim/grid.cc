#include "grid.h"

namespace nmc {

namespace {

bool continues(const Dimension& outer, const Dimension& inner) {
  return outer.dram == inner.count * inner.dram && outer.scratchpad == inner.count * inner.scratchpad &&
         outer.y == inner.count * inner.y && outer.x == inner.count * inner.x;
}

// Drops dimensions of one element and joins neighbours that step as one.
void merge(Grid& grid) {
  std::array<Dimension, 5> kept;
  int first = 5;
  for (int d = 4; d >= 0; --d) {
    const Dimension& each = grid.dimensions[d];
    if (each.count == 0) grid.empty = true;
    if (each.count == 1) continue;
    if (first < 5 && continues(each, kept[first])) {
      kept[first].count *= each.count;
    } else {
      kept[--first] = each;
    }
  }
  if (first == 5) kept[4] = {1, grid.element_bytes, grid.element_bytes, 0, 0};
  grid.dimensions = kept;
}

template <typename Transfer>
Grid strides_of(const Transfer& transfer) {
  Grid grid;
  grid.element_bytes = bytes_of(transfer.type);
  for (int d = 0; d < 5; ++d) {
    grid.dimensions[d] = {transfer.counts[d], transfer.dram_strides[d], transfer.scratchpad_strides[d], 0, 0};
  }
  return grid;
}

}  // namespace

Grid grid_of(const isa::Load& load) {
  Grid grid = strides_of(load);
  grid.y_start = load.y.start, grid.y_limit = load.y.limit;
  grid.x_start = load.x.start, grid.x_limit = load.x.limit;
  for (int d = 0; d < 5; ++d) {
    grid.dimensions[d].y = load.y.limit ? load.y.steps[d] : 0;
    grid.dimensions[d].x = load.x.limit ? load.x.steps[d] : 0;
  }
  merge(grid);
  return grid;
}

Grid grid_of(const isa::Store& store) {
  Grid grid = strides_of(store);
  merge(grid);
  return grid;
}

Grid row_grid_of(const isa::Gather& gather) {
  Grid grid = strides_of(gather);
  grid.empty = gather.counts[0] == 0;
  grid.dimensions[0].count = 1;
  merge(grid);
  return grid;
}

}  // namespace nmc
