#include "rows.h"

#include <cstring>

#include "fixed_point.h"
#include "piece_arithmetic.h"

namespace nmc {

namespace {

template <typename T>
void widen(const uint8_t* from, int64_t step, int64_t count, int64_t* values) {
  if (step == 0) {
    T value;
    std::memcpy(&value, from, sizeof(T));
    std::fill_n(values, count, int64_t{value});
  } else if (step == static_cast<int64_t>(sizeof(T))) {
    for (int64_t i = 0; i < count; ++i) {
      T value;
      std::memcpy(&value, from + i * static_cast<int64_t>(sizeof(T)), sizeof(T));
      values[i] = value;
    }
  } else {
    for (int64_t i = 0; i < count; ++i) {
      T value;
      std::memcpy(&value, from + i * step, sizeof(T));
      values[i] = value;
    }
  }
}

template <typename T>
void narrow(const int64_t* values, int64_t step, int64_t count, uint8_t* to) {
  if (step == static_cast<int64_t>(sizeof(T))) {
    for (int64_t i = 0; i < count; ++i) {
      const T value = static_cast<T>(values[i]);
      std::memcpy(to + i * static_cast<int64_t>(sizeof(T)), &value, sizeof(T));
    }
  } else {
    for (int64_t i = 0; i < count; ++i) {
      const T value = static_cast<T>(values[i]);
      std::memcpy(to + i * step, &value, sizeof(T));
    }
  }
}

int64_t offset(const Access& access, const Piece& piece) {
  return access.base + piece.outer * access.outer + piece.row * access.row + piece.column * access.column;
}

}  // namespace

Access access_of(const isa::Operand& operand) {
  return {operand.address == isa::kStream, operand.type,         operand.address,
          operand.pitches[0],              operand.pitches[1], operand.step};
}

Access access_of(const isa::Destination& destination) {
  return {destination.address == isa::kStream, destination.type,         destination.address,
          destination.pitches[0],              destination.pitches[1], step_of(destination.step, destination.type)};
}

void fetch(const State& state, const Access& access, const Piece& piece, int64_t* values) {
  if (access.stream) {
    std::copy_n(state.stream.data() + piece.position, piece.count, values);
    return;
  }
  const uint8_t* from = state.scratchpad.data() + offset(access, piece);
  switch (access.type) {
    case isa::Type::kI8: return widen<int8_t>(from, access.column, piece.count, values);
    case isa::Type::kI16: return widen<int16_t>(from, access.column, piece.count, values);
    case isa::Type::kI32: return widen<int32_t>(from, access.column, piece.count, values);
    case isa::Type::kI64: return widen<int64_t>(from, access.column, piece.count, values);
  }
}

void put(State& state, const Access& access, const Piece& piece, int64_t* values) {
  const int64_t maximum = maximum_of(access.type);
  if (access.stream) return saturate_values(values, piece.count, maximum, state.stream.data() + piece.position);
  uint8_t* to = state.scratchpad.data() + offset(access, piece);
  if (access.type == isa::Type::kI16) return store_halves(values, piece.count, access.column, to);
  saturate_values(values, piece.count, maximum, values);
  switch (access.type) {
    case isa::Type::kI8: return narrow<int8_t>(values, access.column, piece.count, to);
    case isa::Type::kI16: break;
    case isa::Type::kI32: return narrow<int32_t>(values, access.column, piece.count, to);
    case isa::Type::kI64: return narrow<int64_t>(values, access.column, piece.count, to);
  }
}

}  // namespace nmc
