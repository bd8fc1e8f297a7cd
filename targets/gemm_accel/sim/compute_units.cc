#include "compute_units.h"

#include <algorithm>
#include <string_view>

namespace nmc {

namespace {

bool overlap(const Access& a, const Access& b) {
  if (a.memory != b.memory) return false;
  for (const Range& one : a.parts) {
    for (const Range& other : b.parts) {
      if (one.overlaps(other)) return true;
    }
  }
  return false;
}

}  // namespace

ComputeUnits::Slot ComputeUnits::plan(const Operation& operation, int64_t ready) const {
  const int64_t issue = std::max(ready, started_[operation.unit]);
  int64_t start = std::max({issue, free_[operation.unit], clear(operation, false)});
  if (const int64_t fill = operation.weights.first_block; fill != 0) {
    start = std::max(start, std::max({issue, weights_free_, clear(operation, true)}) + fill);
  }
  if (operation.lines.count != 0 && !operation.lines.in_place_of(lines_)) start = std::max(start, lines_free_);
  return {issue, start, start + operation.cycles + machine_.rows + machine_.columns - 1};
}

void ComputeUnits::run(const Operation& operation, const Slot& slot) {
  // Commands are issued in order, so what was complete at this issue concerns no later one.
  running_.erase(std::remove_if(running_.begin(), running_.end(),
                                [&](const Running& each) { return each.complete <= slot.issue; }),
                 running_.end());
  free_[operation.unit] = slot.start + operation.cycles;
  started_[operation.unit] = slot.start;
  if (operation.weights.first_block != 0) weights_free_ = slot.start + operation.cycles - operation.weights.last_pass;
  if (operation.lines.count != 0) {
    lines_ = operation.lines;
    lines_free_ = slot.start + operation.cycles + operation.lines.emptying_cycles();
  }
  running_.push_back({operation.unit, slot.start + operation.cycles, slot.end, operation.accesses});
}

int64_t ComputeUnits::clear(const Operation& operation, bool weights) const {
  int64_t cycle = 0;
  for (const Running& each : running_) cycle = std::max(cycle, clear_of(operation, each, weights));
  return cycle;
}

int64_t ComputeUnits::clear_of(const Operation& operation, const Running& earlier, bool weights) {
  int64_t cycle = 0;
  const bool same_unit = operation.unit == earlier.unit;
  for (const Access& now : operation.accesses) {
    if (weights && now.operand != std::string_view("b")) continue;
    for (const Access& before : earlier.accesses) {
      if (!now.writes && !before.writes) continue;
      // A unit writes in the order in which it reads: only a result that is read again has to be waited for, and sums
      // that are added to not even that.
      if (same_unit && (now.writes || now.memory == Memory::kAccumulators)) continue;
      if (overlap(now, before)) cycle = std::max(cycle, before.writes ? earlier.complete : earlier.read_until);
    }
  }
  return cycle;
}

}  // namespace nmc
