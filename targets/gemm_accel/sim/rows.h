// Walks element-wise commands in short pieces of rows: operands widened to int64, results saturated and narrowed.
#ifndef NMC_ROWS_H_
#define NMC_ROWS_H_

#include <algorithm>
#include <array>
#include <cstdint>

#include "state.h"

namespace nmc {

// One operand or destination: element [o, r, c] at base + o·outer + r·row + c·column bytes of the scratchpad, or at the
// same place of the dense stream.
struct Access {
  bool stream = false;
  isa::Type type = isa::Type::kI16;
  int64_t base = 0, outer = 0, row = 0, column = 0;
};

Access access_of(const isa::Operand& operand);
Access access_of(const isa::Destination& destination);

struct Extents {
  int64_t outer, rows, columns;

  int64_t elements() const { return outer * rows * columns; }
};

inline Extents extents_of(const std::array<uint32_t, 3>& counts) { return {counts[0], counts[1], counts[2]}; }

// A piece of a row: where it begins in each access (elements of the stream, bytes of the scratchpad) and its length.
struct Piece {
  int64_t outer, row, column;  // of its first element
  int64_t position;            // of its first element, dense
  int64_t count;
};

// Joins rows, and outer indices, that every access steps over as if they were columns.
template <size_t N>
Extents joined(Extents extents, std::array<Access, N>& accesses) {
  const auto all = [&](const auto& holds) { return std::all_of(accesses.begin(), accesses.end(), holds); };
  if (all([&](const Access& a) { return a.stream || a.outer == extents.rows * a.row; })) {
    extents.rows *= extents.outer;
    extents.outer = 1;
  }
  if (extents.outer == 1 && all([&](const Access& a) { return a.stream || a.row == extents.columns * a.column; })) {
    extents.columns *= extents.rows;
    extents.rows = 1;
  }
  return extents;
}

// Reads a piece of an operand into `values`; the stream is read where it stands.
void fetch(const State& state, const Access& access, const Piece& piece, int64_t* values);

// Saturates the values of a piece to the destination's type and writes them.
void put(State& state, const Access& access, const Piece& piece, int64_t* values);

template <typename Visit>
void for_each_piece(const Extents& extents, const Visit& visit) {
  for (int64_t o = 0; o < extents.outer; ++o) {
    for (int64_t r = 0; r < extents.rows; ++r) {
      for (int64_t c = 0; c < extents.columns; c += kPiece) {
        visit(Piece{o, r, c, (o * extents.rows + r) * extents.columns + c, std::min(kPiece, extents.columns - c)});
      }
    }
  }
}

}  // namespace nmc

#endif  // NMC_ROWS_H_
