#include "table.h"

#include <algorithm>

#include "byte_reader.h"

namespace nmc {

namespace {

constexpr int64_t kInterceptLimit = int64_t{1} << 47;
constexpr int64_t kOriginLimit = int64_t{1} << 40;
constexpr size_t kMostBreakpointSegments = 64;

void check_header(const Table& table, size_t count, int64_t entries) {
  if (count < 1 || static_cast<int64_t>(count) > entries) {
    fail("a table has ", count, " segments; a slot holds 1 to ", entries);
  }
  if (table.shift > 40 || table.mantissa_bits > 16 || table.e_min < -64 || table.e_min > 64 ||
      table.origin >= kOriginLimit || table.origin <= -kOriginLimit) {
    fail("a table's addressing is damaged; compile the model again");
  }
  if (table.addressing == Table::Addressing::kBreakpoints && count > kMostBreakpointSegments) {
    fail("a table addressed by breakpoints has ", count, " segments; at most ", kMostBreakpointSegments,
         " are compared");
  }
  if (table.negative_half && count % 2) fail("a signed table has an odd number of segments, ", count);
}

Segment read_segment(ByteReader& reader) {
  Segment segment;
  segment.intercept = reader.integer<int64_t>();
  segment.slope = reader.integer<int32_t>();
  segment.shift = reader.integer<int32_t>();
  if (segment.intercept >= kInterceptLimit || segment.intercept <= -kInterceptLimit || segment.slope < INT16_MIN ||
      segment.slope > INT16_MAX || segment.shift < 0 || segment.shift > 47) {
    fail("a table has a segment of slope ", segment.slope, ", intercept ", segment.intercept, " and shift ",
         segment.shift, ", which its 16, 48 and 6 bits do not hold");
  }
  return segment;
}

}  // namespace

Table parse_table(std::string_view bytes, int64_t entries) {
  ByteReader reader(bytes);
  Table table;
  table.addressing = reader.enumeration<Table::Addressing>(3, "addressing of a table");
  table.negative_half = reader.integer<uint8_t>() != 0;
  const size_t count = reader.integer<uint16_t>();
  table.shift = reader.integer<uint8_t>();
  table.mantissa_bits = reader.integer<uint8_t>();
  reader.take(2);
  table.origin = reader.integer<int64_t>();
  table.e_min = reader.integer<int32_t>();
  reader.take(12);
  check_header(table, count, entries);
  if (table.addressing == Table::Addressing::kBreakpoints) {
    for (size_t i = 0; i + 1 < count; ++i) table.breakpoints.push_back(reader.integer<int32_t>());
    // one more keeps their number that of the segments, and entries begin at a multiple of eight bytes
    reader.take(4 + 4 * (count % 2));
    if (!std::is_sorted(table.breakpoints.begin(), table.breakpoints.end())) {
      fail("a table's breakpoints are not sorted; compile the model again");
    }
  }
  for (size_t i = 0; i < count; ++i) table.segments.push_back(read_segment(reader));
  table.stored_bytes = static_cast<int64_t>(reader.position());
  return table;
}

void Table::evaluate(int64_t* values, int64_t count) const {
  int64_t addresses[kPiece];
  switch (addressing) {
    case Addressing::kUniform:
      uniform_addresses(values, count, origin, shift, static_cast<int64_t>(segments.size()) - 1, addresses);
      break;
    case Addressing::kOctave:
      for (int64_t i = 0; i < count; ++i) addresses[i] = octave_address(values[i]);
      break;
    case Addressing::kBreakpoints: compared_addresses(values, count, breakpoints, addresses); break;
  }
  evaluate_segments(segments.data(), addresses, count, values);
}

int64_t Table::octave_address(int64_t x) const {
  const int64_t half = static_cast<int64_t>(segments.size()) / (negative_half ? 2 : 1);
  const bool negative = x < 0;
  const int64_t magnitude = negative ? (negative_half ? -x : 0) : x;
  int64_t segment = 0;
  if (magnitude != 0) {
    const int leading = 63 - __builtin_clzll(static_cast<uint64_t>(magnitude));
    const int64_t mantissa = ((magnitude << mantissa_bits) >> leading) - (int64_t{1} << mantissa_bits);
    segment = std::clamp<int64_t>((leading - e_min) * (int64_t{1} << mantissa_bits) + mantissa, 0, half - 1);
  }
  return negative && negative_half ? half + segment : segment;
}

}  // namespace nmc
