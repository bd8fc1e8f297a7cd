#include "rules.h"

#include <algorithm>
#include <string_view>

#include "errors.h"
#include "footprint.h"
#include "state.h"

namespace nmc {

namespace {

// A transfer or block of more elements is refused, so that no sum of addresses overflows 64 bits.
constexpr int64_t kMostElements = int64_t{1} << 31;
constexpr int64_t kMostDram = int64_t{1} << 41;
constexpr int64_t kDepthLimit = int64_t{1} << 16;  // 2^16 products of 46 bits stay below 2^63
constexpr int32_t kAddMultiplierLimit = 1 << 30;

template <typename Count, size_t N>
void check_counts(const std::array<Count, N>& counts) {
  int64_t elements = 1;
  for (const int64_t count : counts) {
    if (count == 0) fail("an extent is 0");
    if (count > kMostElements / elements) fail("it has more than 2^31 elements");
    elements *= count;
  }
}

void check_shift(int shift, int least) {
  if (shift < least || shift > 62) fail("its shift is ", shift, "; it must be ", least, " to 62");
}

void check_result(const isa::Destination& destination) {
  if (destination.type == isa::Type::kI64) fail("its result is i64; results are i8, i16 or i32");
}

void check_value(const char* name, const isa::Operand& operand) {
  if (operand.type == isa::Type::kI64) fail("'", name, "' is i64; it must be i8, i16 or i32");
}

void check_resident(const char* name, const isa::Operand& operand) {
  check_value(name, operand);
  if (operand.address == isa::kStream) fail("'", name, "' is the stream; it must lie in the scratchpad");
}

void check_factor_types(isa::Type a, isa::Type b) {
  if (a == isa::Type::kI64) fail("'a' is i64; it must be i8, i16 or i32");
  if (b > isa::Type::kI16) fail("'b' is wide; it must be i8 or i16");
}

void check_factors(const isa::Operand& a, const isa::Operand& b) {
  check_value("a", a);
  check_resident("b", b);
  if (a.type == isa::Type::kI32 && b.type == isa::Type::kI32) fail("both factors are i32; one may be");
}

template <typename Transfer>
void check_transfer(const Transfer& transfer) {
  check_counts(transfer.counts);
  if (transfer.dram > kMostDram || transfer.dram < -kMostDram) fail("'dram' is ", transfer.dram, ", which is nowhere");
}

struct Rules {
  const isa::Machine& machine;

  void operator()(const isa::Load& load) const {
    check_transfer(load);
    const int32_t least = std::min(load.y.limit, load.x.limit);
    if (least < 0) fail("a bound has the negative limit ", least);
  }

  void operator()(const isa::Gather& gather) const {
    check_transfer(gather);
    const int64_t rows = gather.index_limit;
    if (rows == 0 || rows > kMostElements) fail("its table has ", rows, " rows");
    if (gather.index > kMostDram || gather.index < 0) fail("'index' is ", gather.index, ", which is nowhere");
  }

  void operator()(const isa::LoadTable& load) const { check_slot(load.slot); }

  void operator()(const isa::Store& store) const { check_transfer(store); }

  void operator()(const isa::Gemm& gemm) const {
    check_counts(std::array<uint32_t, 3>{gemm.m, gemm.n, 1});
    check_counts(std::array<uint32_t, 3>{gemm.m, gemm.k, 1});
    check_counts(std::array<uint32_t, 3>{gemm.k, gemm.n, 1});
    if (gemm.k > kDepthLimit) fail("k is ", gemm.k, "; it must be at most ", kDepthLimit);
    check_factor_types(gemm.a_type, gemm.b_type);
    check_flag("accumulate", gemm.accumulate);
  }

  void operator()(const isa::Filter& filter) const {
    const int64_t rows = filter.counts[0], columns = filter.counts[1];
    const int64_t taps_high = filter.kernel[0], taps_wide = filter.kernel[1];
    check_counts(filter.counts);
    check_counts(filter.kernel);
    if (taps_high * taps_wide > std::min(machine.rows, kMostTaps)) {
      fail("it has ", taps_high * taps_wide, " taps; a column of the array has cells for ", machine.rows);
    }
    if (taps_high - 1 > machine.delay_lines) {
      fail("its taps have ", taps_high, " rows; ", machine.delay_lines, " delay lines stand between ",
           machine.delay_lines + 1);
    }
    if (taps_high > 1 && columns - 1 > machine.delay_entries) {
      fail("its sums have ", columns, " columns; a delay line of ", machine.delay_entries, " entries allows ",
           machine.delay_entries + 1);
    }
    check_counts(std::array<int64_t, 3>{rows + taps_high - 1, columns + taps_wide - 1, filter.counts[2]});
    check_factor_types(filter.a_type, filter.b_type);
    check_flag("accumulate", filter.accumulate);
  }

  void operator()(const isa::Drain& drain) const {
    check_counts(drain.counts);
    check_result(drain.destination);
    check_flag("shared", drain.shared);
  }

  void operator()(const isa::Hadamard& command) const {
    check_counts(command.counts);
    check_factors(command.a, command.b);
    check_shift(command.shift, 17);
    check_result(command.destination);
  }

  void operator()(const isa::Add& command) const {
    check_counts(command.counts);
    check_value("a", command.a);
    check_resident("b", command.b);
    for (const int32_t multiplier : {command.multiplier_a, command.multiplier_b}) {
      if (multiplier >= kAddMultiplierLimit || multiplier <= -kAddMultiplierLimit) {
        fail("a multiplier is ", multiplier, "; it must be below 2^30 in magnitude");
      }
    }
    check_shift(command.shift, 1);
    check_result(command.destination);
  }

  void operator()(const isa::Pwl& command) const {
    check_counts(command.counts);
    check_value("a", command.a);
    check_slot(command.slot);
    check_result(command.destination);
  }

  void operator()(const isa::Signal& signal) const { check_semaphore(signal.semaphore); }
  void operator()(const isa::Wait& wait) const { check_semaphore(wait.semaphore); }
  void operator()(const isa::End&) const {}

  static void check_flag(const char* name, uint8_t flag) {
    if (flag > 1) fail("'", name, "' is ", int{flag}, "; it must be 0 or 1");
  }

  void check_slot(int64_t slot) const {
    if (slot >= machine.table_slots) fail("there is no table slot ", slot, " among ", machine.table_slots);
  }

  void check_semaphore(int64_t semaphore) const {
    if (semaphore >= machine.semaphores) fail("there is no semaphore ", semaphore, " among ", machine.semaphores);
  }
};

// Whether elements [o, r, c] of both lie at the same place for all indices.
bool in_place(const isa::Operand& operand, const isa::Destination& destination, const std::array<uint32_t, 3>& counts) {
  return operand.address == destination.address && operand.type == destination.type &&
         (counts[0] == 1 || operand.pitches[0] == destination.pitches[0]) &&
         (counts[1] == 1 || operand.pitches[1] == destination.pitches[1]) &&
         (counts[2] == 1 || operand.step == step_of(destination.step, destination.type));
}

void check_separate(const char* name, const isa::Operand& operand, const isa::Destination& destination,
                    const std::array<uint32_t, 3>& counts, const std::vector<Access>& accesses) {
  if (operand.address == isa::kStream || in_place(operand, destination, counts)) return;
  const Access *read = nullptr, *written = nullptr;
  for (const Access& access : accesses) {
    if (access.operand == std::string_view(name)) read = &access;
    if (access.writes) written = &access;
  }
  if (read == nullptr || written == nullptr) return;
  for (const Range& from : read->parts) {
    for (const Range& to : written->parts) {
      if (from.overlaps(to)) {
        fail("its result overlaps '", name, "' at scratchpad byte ", std::max(from.start, to.start),
             ", and is not in its place");
      }
    }
  }
}

}  // namespace

void check_fields(const isa::Command& command, const isa::Machine& machine) { std::visit(Rules{machine}, command); }

void check_overlap(const isa::Command& command, const std::vector<Access>& accesses) {
  if (const auto* add = std::get_if<isa::Add>(&command)) {
    check_separate("a", add->a, add->destination, add->counts, accesses);
    check_separate("b", add->b, add->destination, add->counts, accesses);
  } else if (const auto* hadamard = std::get_if<isa::Hadamard>(&command)) {
    check_separate("a", hadamard->a, hadamard->destination, hadamard->counts, accesses);
    check_separate("b", hadamard->b, hadamard->destination, hadamard->counts, accesses);
  } else if (const auto* pwl = std::get_if<isa::Pwl>(&command)) {
    check_separate("a", pwl->a, pwl->destination, pwl->counts, accesses);
  }
}

}  // namespace nmc
