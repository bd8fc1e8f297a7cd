// MAC, DRAIN, HADAMARD, ADD and PWL.
#include <cstring>

#include "errors.h"
#include "fixed_point.h"
#include "piece_arithmetic.h"
#include "rows.h"
#include "state.h"

namespace nmc {

namespace {

void check_sum(int64_t sum, const char* command) {
  if (sum >= kAccumulatorLimit || sum <= -kAccumulatorLimit) {
    fail(command, " reaches a sum of ", sum, ", beyond the 48 bits of an accumulator");
  }
}

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

std::vector<int32_t> scale_vector(const State& state, const isa::Drain& command) {
  std::vector<int32_t> scale(2 * static_cast<size_t>(command.columns));
  const uint8_t* from = state.scratchpad.data() + command.scale;
  if (command.shared) {
    int32_t one[2];
    std::memcpy(one, from, sizeof(one));
    std::fill_n(scale.begin(), command.columns, one[0]);
    std::fill_n(scale.begin() + command.columns, command.columns, one[1]);
  } else {
    std::memcpy(scale.data(), from, scale.size() * sizeof(int32_t));
  }
  for (size_t c = command.columns; c < scale.size(); ++c) {
    if (scale[c] < 17 || scale[c] > 62) {
      fail("DRAIN meets a shift of ", scale[c], " for column ", c - command.columns, "; shifts are 17 to 62");
    }
  }
  return scale;
}

std::vector<int64_t> bias_vector(const State& state, const isa::Drain& command) {
  std::vector<int64_t> bias(command.columns);
  if (command.bias != isa::kNone) {
    const size_t count = command.shared ? 1 : bias.size();
    std::memcpy(bias.data(), state.scratchpad.data() + command.bias, count * sizeof(int64_t));
    if (command.shared) std::fill(bias.begin(), bias.end(), bias.front());
  }
  for (const int64_t each : bias) check_sum(each, "DRAIN");
  return bias;
}

}  // namespace

void execute(const isa::Mac& command, State& state) {
  std::array<Access, 2> accesses{access_of(command.a), access_of(command.b)};
  const Extents extents = joined(extents_of(command.counts), accesses);
  with_pairs(state, extents, accesses, [&](const Piece& piece, const int64_t* a, const int64_t* b) {
    int64_t* sums = state.accumulators.data() + (command.accumulator + piece.position);
    int64_t largest = 0;
    for (int64_t i = 0; i < piece.count; ++i) {
      sums[i] = (command.accumulate ? sums[i] : 0) + a[i] * b[i];
      largest = std::max(largest, sums[i] < 0 ? -sums[i] : sums[i]);
    }
    check_sum(largest, command.mnemonic);
  });
}

void execute(const isa::Drain& command, State& state) {
  const std::vector<int32_t> scale = scale_vector(state, command);
  const std::vector<int64_t> bias = bias_vector(state, command);
  const Access destination = access_of(command.destination);
  const Extents extents{1, command.rows, command.columns};
  prepare_stream(state, destination, extents);
  int64_t values[kPiece];
  for_each_piece(extents, [&](const Piece& piece) {
    const int64_t* sums = state.accumulators.data() + (command.accumulator + piece.position);
    const int64_t* biases = bias.data() + piece.column;
    const int32_t* multipliers = scale.data() + piece.column;
    const int32_t* shifts = multipliers + command.columns;
    if (!requantise_sums(sums, biases, multipliers, shifts, piece.count, values)) {
      for (int64_t i = 0; i < piece.count; ++i) check_sum(sums[i] + biases[i], command.mnemonic);
    }
    put(state, destination, piece, values);
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
  int64_t values[kPiece];
  for_each_piece(extents, [&](const Piece& piece) {
    fetch(state, accesses[0], piece, values);
    table.evaluate(values, piece.count);
    put(state, accesses[1], piece, values);
  });
}

}  // namespace nmc
