// DRAIN, HADAMARD, ADD and PWL.
#include <algorithm>
#include <cstring>

#include "errors.h"
#include "fixed_point.h"
#include "piece_arithmetic.h"
#include "rows.h"
#include "sums.h"

namespace nmc {

namespace {

// Reads both factors of each piece and hands them to `use(piece, a, b)`.
template <size_t N, typename Use>
void with_pairs(const State& state, const Extents& extents, const std::array<Access, N>& accesses, const Use& use) {
  int64_t a[kPiece], b[kPiece];
  for_each_piece(extents, [&](const Piece& piece) {
    fetch(state, accesses[0], piece, a);
    fetch(state, accesses[1], piece, b);
    use(piece, a, b);
  });
}

// The stream keeps its place while a chain runs over it; its first command makes room.
void prepare_stream(State& state, const Access& destination, const Extents& extents) {
  if (destination.stream) state.stream.resize(static_cast<size_t>(extents.elements()));
}

// So many sums are requantised at once: more would need longer repetitions of what few columns have.
constexpr int64_t kScales = 128;

// What a DRAIN does to the sums of each column.
struct ColumnScales {
  std::vector<int64_t> biases;
  std::vector<int32_t> multipliers, shifts;
};

// `count` numbers for the columns from the bytes, or one for all of them, or zeros; and `more`, repeating the columns.
template <typename T>
void read_columns(const uint8_t* from, bool shared, int64_t count, int64_t more, std::vector<T>& values) {
  values.resize(static_cast<size_t>(count + more));
  if (from == nullptr) return std::fill(values.begin(), values.end(), T{0});
  std::memcpy(values.data(), from, static_cast<size_t>(shared ? 1 : count) * sizeof(T));
  for (int64_t i = 1; shared && i < count; ++i) values[static_cast<size_t>(i)] = values[0];
  for (int64_t done = count; done < count + more; done *= 2) {
    std::copy_n(values.data(), std::min(done, count + more - done), values.data() + done);
  }
}

// Those of the columns and then of `more`, as rows follow each other. They are valid until the next call of a thread.
const ColumnScales& column_scales(const State& state, const isa::Drain& command, int64_t more) {
  static thread_local ColumnScales scales;
  const int64_t count = command.counts[2];
  const uint8_t* scale = state.scratchpad.data() + command.scale;
  const int64_t numbers = command.shared ? 1 : count;
  const uint8_t* bias = command.bias == isa::kNone ? nullptr : state.scratchpad.data() + command.bias;
  read_columns(bias, command.shared, count, more, scales.biases);
  read_columns(scale, command.shared, count, more, scales.multipliers);
  read_columns(scale + numbers * static_cast<int64_t>(sizeof(int32_t)), command.shared, count, more, scales.shifts);
  for (int64_t c = 0; c < numbers; ++c) {
    check_sum(scales.biases[static_cast<size_t>(c)], command.mnemonic);
    const int32_t shift = scales.shifts[static_cast<size_t>(c)];
    if (shift < 17 || shift > 62) fail("DRAIN meets a shift of ", shift, " for column ", c, "; shifts are 17 to 62");
  }
  return scales;
}

// The stream becomes what the table makes of it, in pieces that need not end where rows do, and goes to its destination.
void evaluate_stream(const Table& table, const Extents& extents, const Access& destination, State& state) {
  const int64_t elements = extents.elements();
  for (int64_t i = 0; i < elements; i += kPiece) table.evaluate(state.stream.data() + i, std::min(kPiece, elements - i));
  for_each_piece(extents, [&](const Piece& piece) {
    put(state, destination, piece, state.stream.data() + piece.position);
  });
}

}  // namespace

void execute(const isa::Drain& command, State& state) {
  std::array<Access, 1> destination{access_of(command.destination)};
  const Extents extents = joined(extents_of(command.counts), destination);
  prepare_stream(state, destination[0], extents);
  if (extents.elements() == 0) return;
  const ColumnScales& scales = column_scales(state, command, std::min(kScales, extents.columns));
  int64_t values[kPiece];
  for_each_piece(extents, [&](const Piece& piece) {
    int64_t* results = destination[0].stream ? state.stream.data() + piece.position : values;
    for (int64_t first = 0; first < piece.count; first += kScales) {
      const int64_t* sums = state.accumulators.data() + (command.accumulator + piece.position + first);
      const int64_t count = std::min(kScales, piece.count - first), column = (piece.column + first) % command.counts[2];
      const int64_t* biases = scales.biases.data() + column;
      const int32_t *multipliers = scales.multipliers.data() + column, *shifts = scales.shifts.data() + column;
      if (!requantise_sums(sums, biases, multipliers, shifts, count, results + first)) {
        for (int64_t i = 0; i < count; ++i) check_sum(sums[i] + biases[i], command.mnemonic);
      }
    }
    put(state, destination[0], piece, results);
  });
}

void execute(const isa::Hadamard& command, State& state) {
  std::array<Access, 3> accesses{access_of(command.a), access_of(command.b), access_of(command.destination)};
  const Extents extents = joined(extents_of(command.counts), accesses);
  prepare_stream(state, accesses[2], extents);
  with_pairs(state, extents, accesses, [&](const Piece& piece, int64_t* a, const int64_t* b) {
    int64_t largest = 0;
    for (int64_t i = 0; i < piece.count; ++i) {
      const int64_t product = a[i] * b[i];
      largest = std::max(largest, product < 0 ? -product : product);
      a[i] = requantise(product, command.multiplier, command.shift);
    }
    check_sum(largest, command.mnemonic);
    put(state, accesses[2], piece, a);
  });
}

void execute(const isa::Add& command, State& state) {
  std::array<Access, 3> accesses{access_of(command.a), access_of(command.b), access_of(command.destination)};
  const Extents extents = joined(extents_of(command.counts), accesses);
  prepare_stream(state, accesses[2], extents);
  const int64_t half = int64_t{1} << (command.shift - 1);
  with_pairs(state, extents, accesses, [&](const Piece& piece, int64_t* a, const int64_t* b) {
    for (int64_t i = 0; i < piece.count; ++i) {
      a[i] = (a[i] * command.multiplier_a + b[i] * command.multiplier_b + half) >> command.shift;
    }
    put(state, accesses[2], piece, a);
  });
}

void execute(const isa::Pwl& command, State& state) {
  std::array<Access, 2> accesses{access_of(command.a), access_of(command.destination)};
  const Extents extents = joined(extents_of(command.counts), accesses);
  prepare_stream(state, accesses[1], extents);
  const Table& table = state.tables[command.slot];
  if (table.segments.empty()) fail("PWL reads table slot ", int{command.slot}, ", which no LOAD_TABLE has filled");
  if (accesses[0].stream) return evaluate_stream(table, extents, accesses[1], state);
  int64_t values[kPiece];
  for_each_piece(extents, [&](const Piece& piece) {
    fetch(state, accesses[0], piece, values);
    table.evaluate(values, piece.count);
    put(state, accesses[1], piece, values);
  });
}

}  // namespace nmc
