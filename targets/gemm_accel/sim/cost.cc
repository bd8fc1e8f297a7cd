#include "cost.h"

#include "footprint.h"
#include "grid.h"

namespace nmc {

namespace {

int64_t ceil_divide(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Sums runs as they come: one that begins where the last ended continues it.
class Runs {
 public:
  explicit Runs(int64_t width) : width_(width) {}

  void add(int64_t start, int64_t bytes) {
    if (start != end_) close();
    run_ += bytes;
    end_ = start + bytes;
  }

  DramCost total() {
    close();
    return cost_;
  }

 private:
  void close() {
    cost_.beats += ceil_divide(run_, width_);
    cost_.bytes += run_;
    run_ = 0;
    end_ = INT64_MIN;
  }

  int64_t width_;
  int64_t run_ = 0;
  int64_t end_ = INT64_MIN;
  DramCost cost_;
};

DramCost grid_cost(const Grid& grid, int64_t width) {
  Runs runs(width);
  const int64_t size = grid.element_bytes, step = grid.inner().dram;
  for_each_line(grid, [&](const Line& line) {
    const auto [low, high] = line.inside;
    if (low >= high) return;
    if (step == size || step == 0) {  // an element that repeats is moved once
      runs.add(line.dram + low * step, step == 0 ? size : (high - low) * size);
    } else {
      for (int64_t i = low; i < high; ++i) runs.add(line.dram + i * step, size);
    }
  });
  return runs.total();
}

struct DramCostOf {
  const Program& program;
  std::string_view constants;

  int64_t width() const { return program.machine.dram_bytes_per_cycle; }

  DramCost operator()(const isa::Load& load) const { return grid_cost(grid_of(load), width()); }
  DramCost operator()(const isa::Store& store) const { return grid_cost(grid_of(store), width()); }

  DramCost operator()(const isa::Gather& gather) const {
    const DramCost row = grid_cost(row_grid_of(gather), width());
    const int64_t rows = gather.counts[0];
    return {rows * row.beats + ceil_divide(4 * rows, width()), rows * row.bytes + 4 * rows, 2};
  }

  DramCost operator()(const isa::LoadTable& load) const {
    const int64_t bytes = accesses_of(load, program, constants).front().hull().stop - load.dram;
    return {ceil_divide(bytes, width()), bytes, 1};
  }

  template <typename Other>
  DramCost operator()(const Other&) const {
    return {};
  }
};

struct ComputeCyclesOf {
  const isa::Machine& machine;

  int64_t passes(isa::Type type) const { return ceil_divide(8 * bytes_of(type), machine.data_bits); }

  int64_t lines(const std::array<uint32_t, 3>& counts) const {
    return int64_t{counts[0]} * counts[1] * ceil_divide(counts[2], machine.columns);
  }

  int64_t operator()(const isa::Gemm& gemm) const {
    const int64_t blocks = ceil_divide(gemm.n, machine.columns), whole = gemm.k / machine.rows;
    const int64_t streamed = streamed_rows(gemm), rest = gemm.k % machine.rows;
    const int64_t all = blocks * (whole * std::max(streamed, machine.rows) + (rest ? std::max(streamed, rest) : 0));
    // the first block of weights fills before the command runs, and nothing of it behind the last
    return all - std::max(streamed, first_block(gemm)) + streamed;
  }
  int64_t streamed_rows(const isa::Gemm& gemm) const { return gemm.m * passes(gemm.a_type) * passes(gemm.b_type); }
  int64_t first_block(const isa::Gemm& gemm) const { return std::min<int64_t>(gemm.k, machine.rows); }
  int64_t operator()(const isa::Filter& filter) const {
    const int64_t blocks = ceil_divide(filter.counts[2], machine.columns), streamed = streamed_rows(filter);
    return (blocks - 1) * std::max(streamed, first_block(filter)) + streamed;
  }
  int64_t streamed_rows(const isa::Filter& filter) const {
    const int64_t rows = int64_t{filter.counts[0]} + filter.kernel[0] - 1;
    const int64_t columns = int64_t{filter.counts[1]} + filter.kernel[1] - 1;
    return rows * columns * passes(filter.a_type) * passes(filter.b_type);
  }
  int64_t first_block(const isa::Filter& filter) const { return int64_t{filter.kernel[0]} * filter.kernel[1]; }
  int64_t operator()(const isa::Drain& drain) const { return lines(drain.counts); }
  int64_t operator()(const isa::Hadamard& command) const {
    return lines(command.counts) * passes(command.a.type) * passes(command.b.type);
  }
  int64_t operator()(const isa::Add& command) const { return lines(command.counts); }
  int64_t operator()(const isa::Pwl& command) const { return lines(command.counts) * passes(command.a.type); }

  template <typename Other>
  int64_t operator()(const Other&) const {
    return 0;
  }
};

}  // namespace

DramCost dram_cost(const isa::Command& command, const Program& program, std::string_view constants) {
  return std::visit(DramCostOf{program, constants}, command);
}

int64_t compute_cycles(const isa::Command& command, const isa::Machine& machine) {
  return std::visit(ComputeCyclesOf{machine}, command);
}

WeightsCost weights_cost(const isa::Command& command, const isa::Machine& machine) {
  const ComputeCyclesOf cost{machine};
  if (const auto* gemm = std::get_if<isa::Gemm>(&command)) return {cost.first_block(*gemm), cost.streamed_rows(*gemm)};
  if (const auto* filter = std::get_if<isa::Filter>(&command)) {
    return {cost.first_block(*filter), cost.streamed_rows(*filter)};
  }
  return {};
}

DelayLines delay_lines_of(const isa::Command& command) {
  const auto* filter = std::get_if<isa::Filter>(&command);
  if (filter == nullptr) return {};
  return {int64_t{filter->kernel[0]} - 1, filter->kernel[1], filter->counts[1]};
}

}  // namespace nmc
