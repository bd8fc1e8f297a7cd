// LOAD, GATHER, LOAD_TABLE and STORE.
#include <cstring>

#include "errors.h"
#include "grid.h"
#include "run_copy.h"
#include "state.h"

namespace nmc {

namespace {

template <typename T>
void copy_strided(const uint8_t* from, int64_t from_step, uint8_t* to, int64_t to_step, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    T value;
    std::memcpy(&value, from + i * from_step, sizeof(T));
    std::memcpy(to + i * to_step, &value, sizeof(T));
  }
}

void copy(const uint8_t* from, int64_t from_step, uint8_t* to, int64_t to_step, int64_t count, int64_t size) {
  if (count <= 0) return;
  if (from_step == size && to_step == size) {
    return copy_run(from, count * size, to);
  }
  switch (size) {
    case 1: return copy_strided<uint8_t>(from, from_step, to, to_step, count);
    case 2: return copy_strided<uint16_t>(from, from_step, to, to_step, count);
    case 4: return copy_strided<uint32_t>(from, from_step, to, to_step, count);
    default: return copy_strided<uint64_t>(from, from_step, to, to_step, count);
  }
}

// Fills elements with an integer's low bytes (little-endian, as all memories are).
void fill(uint8_t* to, int64_t step, int64_t count, int64_t size, int64_t value) {
  if (count <= 0) return;
  if (value == 0 && step == size) {
    std::memset(to, 0, static_cast<size_t>(count * size));
    return;
  }
  copy(reinterpret_cast<const uint8_t*>(&value), 0, to, step, count, size);
}

// `dram` is the byte of the grid's first element, which need not exist.
void load_lines(const Grid& grid, State& state, int64_t dram, int64_t scratchpad, int64_t fill_value) {
  const Dimension& inner = grid.inner();
  const int64_t size = grid.element_bytes;
  for_each_line(grid, [&](const Line& line) {
    uint8_t* to = state.scratchpad.data() + (scratchpad + line.scratchpad);
    const auto [low, high] = line.inside;
    fill(to, inner.scratchpad, low, size, fill_value);
    if (high > low) {
      copy(state.dram.data() + (dram + line.dram + low * inner.dram), inner.dram, to + low * inner.scratchpad,
           inner.scratchpad, high - low, size);
    }
    fill(to + high * inner.scratchpad, inner.scratchpad, inner.count - high, size, fill_value);
  });
}

}  // namespace

void execute(const isa::Load& command, State& state) {
  load_lines(grid_of(command), state, command.dram, command.scratchpad, command.fill);
}

void execute(const isa::Gather& command, State& state) {
  const Grid row = row_grid_of(command);
  for (int64_t i = 0; i < command.counts[0]; ++i) {
    int32_t index;
    std::memcpy(&index, state.dram.data() + command.index + 4 * i, sizeof(index));
    const int64_t rows = command.index_limit;
    const int64_t place = index < 0 ? index + rows : index;
    if (place < 0 || place >= rows) {
      fail("GATHER meets index ", index, " in a table of ", rows,
           " rows; give the model indices within its tables");
    }
    load_lines(row, state, command.dram + place * command.dram_strides[0],
               command.scratchpad + i * command.scratchpad_strides[0], 0);
  }
}

void execute(const isa::LoadTable& command, State& state) {
  const std::string_view dram(reinterpret_cast<const char*>(state.dram.data()), state.dram.size());
  state.tables[command.slot] = parse_table(dram.substr(static_cast<size_t>(command.dram)), state.machine.table_entries);
}

void execute(const isa::Store& command, State& state) {
  const Grid grid = grid_of(command);
  const Dimension& inner = grid.inner();
  for_each_line(grid, [&](const Line& line) {
    copy(state.scratchpad.data() + (command.scratchpad + line.scratchpad), inner.scratchpad,
         state.dram.data() + (command.dram + line.dram), inner.dram, inner.count, grid.element_bytes);
  });
}

}  // namespace nmc
