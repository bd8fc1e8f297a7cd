#include "footprint.h"

#include <algorithm>

#include "errors.h"
#include "grid.h"
#include "table.h"

namespace nmc {

namespace {

struct Step {
  int64_t count;
  int64_t bytes;
};

// The ranges of base + Σ step·index, each element of `size`. Dimensions are followed one by one, outermost first,
// while the number of parts allows; what is left of each is covered by its hull.
void add_parts(int64_t base, const Step* steps, int dimensions, int64_t size, int64_t allowed,
               std::vector<Range>& parts) {
  int64_t least = 0, greatest = 0;
  bool dense = true;
  int64_t next = size;
  for (int d = dimensions - 1; d >= 0; --d) {
    const int64_t reach = (steps[d].count - 1) * steps[d].bytes;
    (reach < 0 ? least : greatest) += reach;
    dense = dense && (steps[d].count == 1 || steps[d].bytes == 0 || steps[d].bytes == next);
    if (steps[d].bytes == next) next *= steps[d].count;
  }
  if (dense || dimensions == 0 || steps[0].count > allowed) {
    parts.push_back({base + least, base + greatest + size});
    return;
  }
  const int64_t distinct = steps[0].bytes == 0 ? 1 : steps[0].count;
  for (int64_t i = 0; i < distinct; ++i) {
    add_parts(base + i * steps[0].bytes, steps + 1, dimensions - 1, size, allowed / distinct, parts);
  }
}

Access strided(Memory memory, bool writes, const char* operand, int64_t base, const std::vector<Step>& steps,
               int64_t size) {
  Access access{memory, writes, operand, {}};
  const bool empty = std::any_of(steps.begin(), steps.end(), [](const Step& step) { return step.count == 0; });
  if (!empty) add_parts(base, steps.data(), static_cast<int>(steps.size()), size, kMostParts, access.parts);
  return access;
}

Access dense(Memory memory, bool writes, const char* operand, int64_t base, int64_t size) {
  return {memory, writes, operand, {{base, base + size}}};
}

std::vector<Step> steps_of(const Grid& grid, int64_t Dimension::* bytes) {
  std::vector<Step> steps;
  for (const Dimension& each : grid.dimensions) steps.push_back({grid.empty ? 0 : each.count, each.*bytes});
  return steps;
}

// What lies within the bounds of a load: DRAM is read nowhere else.
Access bounded_read(const isa::Load& load, const Grid& grid) {
  if (grid.y_limit == 0 && grid.x_limit == 0) {
    return strided(Memory::kDram, false, "dram", load.dram, steps_of(grid, &Dimension::dram), grid.element_bytes);
  }
  Access access{Memory::kDram, false, "dram", {}};
  for_each_line(grid, [&](const Line& line) {
    if (line.inside.low >= line.inside.high) return;
    const int64_t first = load.dram + line.dram + line.inside.low * grid.inner().dram;
    const int64_t last = load.dram + line.dram + (line.inside.high - 1) * grid.inner().dram;
    const Range range{std::min(first, last), std::max(first, last) + grid.element_bytes};
    if (static_cast<int64_t>(access.parts.size()) < kMostParts) {
      access.parts.push_back(range);
    } else {
      Range& rest = access.parts.back();
      rest = {std::min(rest.start, range.start), std::max(rest.stop, range.stop)};
    }
  });
  return access;
}

class Collector {
 public:
  Collector(const Program& program, std::string_view constants) : program_(program), constants_(constants) {}

  std::vector<Access> accesses;

  void operator()(const isa::Load& load) {
    const Grid grid = grid_of(load);
    accesses.push_back(bounded_read(load, grid));
    accesses.push_back(strided(Memory::kScratchpad, true, "scratchpad", load.scratchpad,
                               steps_of(grid, &Dimension::scratchpad), grid.element_bytes));
  }

  void operator()(const isa::Gather& gather) {
    const Grid row = row_grid_of(gather);
    const int64_t size = row.element_bytes;
    std::vector<Step> dram = steps_of(row, &Dimension::dram);
    dram.insert(dram.begin(), {gather.index_limit, gather.dram_strides[0]});
    std::vector<Step> scratchpad = steps_of(row, &Dimension::scratchpad);
    scratchpad.insert(scratchpad.begin(), {gather.counts[0], gather.scratchpad_strides[0]});
    accesses.push_back(strided(Memory::kDram, false, "dram", gather.dram, dram, size));
    accesses.push_back(dense(Memory::kDram, false, "index", gather.index, 4 * int64_t{gather.counts[0]}));
    accesses.push_back(strided(Memory::kScratchpad, true, "scratchpad", gather.scratchpad, scratchpad, size));
  }

  void operator()(const isa::LoadTable& load) {
    if (load.dram < 0 || load.dram >= static_cast<int64_t>(constants_.size())) {
      fail("LOAD_TABLE reads DRAM byte ", load.dram, "; tables lie among the ", constants_.size(),
           " bytes of constants");
    }
    const Table table = parse_table(constants_.substr(static_cast<size_t>(load.dram)), program_.machine.table_entries);
    accesses.push_back(dense(Memory::kDram, false, "dram", load.dram, table.stored_bytes));
    accesses.push_back(dense(Memory::kTables, true, "slot", load.slot, 1));
  }

  void operator()(const isa::Store& store) {
    const Grid grid = grid_of(store);
    accesses.push_back(strided(Memory::kScratchpad, false, "scratchpad", store.scratchpad,
                               steps_of(grid, &Dimension::scratchpad), grid.element_bytes));
    accesses.push_back(
        strided(Memory::kDram, true, "dram", store.dram, steps_of(grid, &Dimension::dram), grid.element_bytes));
  }

  void operator()(const isa::Gemm& gemm) {
    const int64_t a_bytes = bytes_of(gemm.a_type), b_bytes = bytes_of(gemm.b_type);
    accesses.push_back(
        strided(Memory::kScratchpad, false, "a", gemm.a, {{gemm.m, gemm.a_pitch}, {gemm.k, a_bytes}}, a_bytes));
    accesses.push_back(
        strided(Memory::kScratchpad, false, "b", gemm.b, {{gemm.k, gemm.b_pitch}, {gemm.n, b_bytes}}, b_bytes));
    sums(true, gemm.accumulator, int64_t{gemm.m} * gemm.n);
  }

  void operator()(const isa::Filter& filter) {
    const int64_t a_bytes = bytes_of(filter.a_type), b_bytes = bytes_of(filter.b_type);
    const auto [rows, columns, channels] = filter.counts;
    accesses.push_back(strided(Memory::kScratchpad, false, "a", filter.a,
                               {{int64_t{rows} + filter.kernel[0] - 1, filter.a_pitches[0]},
                                {int64_t{columns} + filter.kernel[1] - 1, filter.a_pitches[1]},
                                {channels, a_bytes}},
                               a_bytes));
    accesses.push_back(strided(Memory::kScratchpad, false, "b", filter.b,
                               {{int64_t{filter.kernel[0]} * filter.kernel[1], filter.b_pitch}, {channels, b_bytes}},
                               b_bytes));
    sums(true, filter.accumulator, int64_t{rows} * columns * channels);
  }

  void operator()(const isa::Drain& drain) {
    sums(false, drain.accumulator, int64_t{drain.counts[0]} * drain.counts[1] * drain.counts[2]);
    const int64_t bytes = 8 * int64_t{drain.shared ? 1 : drain.counts[2]};
    if (drain.bias != isa::kNone) accesses.push_back(dense(Memory::kScratchpad, false, "bias", drain.bias, bytes));
    accesses.push_back(dense(Memory::kScratchpad, false, "scale", drain.scale, bytes));
    write(drain.destination, drain.counts);
  }

  void operator()(const isa::Hadamard& command) {
    read("a", command.a, command.counts);
    read("b", command.b, command.counts);
    write(command.destination, command.counts);
  }

  void operator()(const isa::Add& command) {
    read("a", command.a, command.counts);
    read("b", command.b, command.counts);
    write(command.destination, command.counts);
  }

  void operator()(const isa::Pwl& command) {
    read("a", command.a, command.counts);
    accesses.push_back(dense(Memory::kTables, false, "slot", command.slot, 1));
    write(command.destination, command.counts);
  }

  void operator()(const isa::Signal&) {}
  void operator()(const isa::Wait&) {}
  void operator()(const isa::End&) {}

 private:
  using Counts = std::array<uint32_t, 3>;

  void read(const char* name, const isa::Operand& operand, const Counts& counts) {
    if (operand.address == isa::kStream) return;
    block(false, name, operand.address, counts, operand.pitches, operand.step, bytes_of(operand.type));
  }

  void write(const isa::Destination& destination, const Counts& counts) {
    if (destination.address == isa::kStream) return;
    const int64_t size = bytes_of(destination.type);
    const int64_t step = step_of(destination.step, destination.type);
    block(true, "destination", destination.address, counts, destination.pitches, step, size);
  }

  void block(bool writes, const char* name, int64_t base, const Counts& counts, const std::array<int32_t, 2>& pitches,
             int64_t step, int64_t size) {
    accesses.push_back(strided(Memory::kScratchpad, writes, name, base,
                               {{counts[0], pitches[0]}, {counts[1], pitches[1]}, {counts[2], step}}, size));
  }

  void sums(bool writes, int64_t first, int64_t count) {
    accesses.push_back(dense(Memory::kAccumulators, writes, "accumulator", first, count));
  }

  const Program& program_;
  std::string_view constants_;
};

}  // namespace

Range Access::hull() const {
  if (parts.empty()) return {};
  Range hull = parts.front();
  for (const Range& part : parts) hull = {std::min(hull.start, part.start), std::max(hull.stop, part.stop)};
  return hull;
}

std::vector<Access> accesses_of(const isa::Command& command, const Program& program, std::string_view constants) {
  Collector collector(program, constants);
  std::visit(collector, command);
  return std::move(collector.accesses);
}

}  // namespace nmc
