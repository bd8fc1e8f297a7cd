#include "table.h"

#include <algorithm>

#include "byte_reader.h"

namespace nmc {

namespace {

constexpr int kInterceptBits = 48;
constexpr int64_t kNoIntercept = -(int64_t{1} << 47);  // the one whose negative is none
constexpr int kMostShift = 47;
constexpr int64_t kOriginLimit = int64_t{1} << 40;
constexpr size_t kMostBreakpointSegments = 64;
constexpr size_t kMostBlocks = 32;

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
  if (table.negative_half && table.addressing == Table::Addressing::kOctave && count % 2) fail("a signed table has an odd number of segments, ", count);
}

bool has_blocks(const Table& table) {
  return table.addressing == Table::Addressing::kBlocks || table.addressing == Table::Addressing::kOctaveBlocks;
}

void check_blocks(const Table& table, size_t blocks, size_t entries) {
  if (blocks < 1 || blocks > kMostBlocks || (table.negative_half && blocks % 2)) {
    fail("a table has ", blocks, " divided blocks, which must be 1 to ", kMostBlocks, " and even for both signs");
  }
  // a block of magnitudes begins at a power of two that an integer has
  if (table.addressing == Table::Addressing::kOctaveBlocks &&
      (table.e_min < 0 || table.e_min + table.mantissa_bits + (static_cast<int64_t>(blocks) >> table.mantissa_bits) > 60)) {
    fail("a table's blocks begin at 2^", table.e_min, ", which arguments of 32 bits do not need");
  }
  for (const Table::Block& block : table.blocks) {
    if (block.segments < 1 || block.first + block.segments > static_cast<int64_t>(entries) || block.shift > 40) {
      fail("a table's block has segments ", block.first, " to ", block.first + block.segments - 1, " of ", entries);
    }
  }
}

// An intercept of 48 bits and above it a slope of 16.
Segment read_line(ByteReader& reader) {
  const auto line = reader.integer<int64_t>();
  Segment segment;
  segment.slope = static_cast<int32_t>(line >> kInterceptBits);
  segment.intercept = static_cast<int64_t>(static_cast<uint64_t>(line) << (64 - kInterceptBits)) >> (64 - kInterceptBits);
  return segment;
}

// Sections of a table begin at a multiple of eight bytes.
void skip_padding(ByteReader& reader) { reader.take((8 - reader.position() % 8) % 8); }

}  // namespace

Table parse_table(std::string_view bytes, int64_t entries) {
  ByteReader reader(bytes);
  Table table;
  table.addressing = reader.enumeration<Table::Addressing>(5, "addressing of a table");
  table.negative_half = reader.integer<uint8_t>() != 0;
  const size_t count = reader.integer<uint16_t>();
  table.shift = reader.integer<uint8_t>();
  table.mantissa_bits = reader.integer<uint8_t>();
  const size_t blocks = reader.integer<uint16_t>();
  table.origin = reader.integer<int64_t>();
  table.e_min = reader.integer<int32_t>();
  reader.take(12);
  check_header(table, count, entries);
  if (table.addressing == Table::Addressing::kBreakpoints) {
    for (size_t i = 0; i + 1 < count; ++i) table.breakpoints.push_back(reader.integer<int32_t>());
    if (!std::is_sorted(table.breakpoints.begin(), table.breakpoints.end())) {
      fail("a table's breakpoints are not sorted; compile the model again");
    }
  }
  if (has_blocks(table)) {
    for (size_t i = 0; i < std::min(blocks, kMostBlocks); ++i) {
      Table::Block block;
      block.first = reader.integer<uint16_t>();
      block.segments = reader.integer<uint8_t>();
      block.shift = reader.integer<uint8_t>();
      table.blocks.push_back(block);
    }
    check_blocks(table, blocks, count);
  }
  skip_padding(reader);
  for (size_t i = 0; i < count; ++i) table.segments.push_back(read_line(reader));
  for (Segment& segment : table.segments) {
    segment.shift = reader.integer<uint8_t>();
    if (segment.shift > kMostShift || segment.intercept == kNoIntercept) {
      fail("a table has a segment of intercept ", segment.intercept, " and shift ", segment.shift,
           ", beyond the largest of 2^47 - 1 and ", kMostShift);
    }
  }
  skip_padding(reader);
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
      for (int64_t i = 0; i < count; ++i) {
        addresses[i] = octave_address(values[i], static_cast<int64_t>(segments.size()));
      }
      break;
    case Addressing::kBlocks:
      for (int64_t i = 0; i < count; ++i) addresses[i] = block_address(values[i]);
      break;
    case Addressing::kOctaveBlocks:
      for (int64_t i = 0; i < count; ++i) addresses[i] = octave_block_address(values[i]);
      break;
    case Addressing::kBreakpoints: return evaluate_between(segments.data(), breakpoints, count, values);
  }
  evaluate_segments(segments.data(), addresses, count, values);
}

int64_t Table::block_address(int64_t x) const {
  const int64_t place = x - origin;
  const int64_t number = std::clamp<int64_t>(place >> shift, 0, static_cast<int64_t>(blocks.size()) - 1);
  const Block& block = blocks[static_cast<size_t>(number)];
  const int64_t inside = std::clamp<int64_t>(place - (number << shift), 0, (int64_t{1} << shift) - 1);
  return block.first + std::min(inside >> block.shift, block.segments - 1);
}

int64_t Table::octave_block_address(int64_t x) const {
  const int64_t count = static_cast<int64_t>(blocks.size());
  const int64_t number = octave_address(x, count);
  const int64_t position = negative_half ? number % (count / 2) : number;
  const int64_t octave = e_min + (position >> mantissa_bits), one = int64_t{1} << mantissa_bits;
  const int64_t start = ((one + (position & (one - 1))) << octave) >> mantissa_bits;
  const int64_t width = std::max<int64_t>((int64_t{1} << octave) >> mantissa_bits, 1);
  const int64_t magnitude = x < 0 ? (negative_half ? -x : 0) : x;
  const Block& block = blocks[static_cast<size_t>(number)];
  const int64_t inside = std::clamp<int64_t>(magnitude - start, 0, width - 1);
  return block.first + std::min(inside >> block.shift, block.segments - 1);
}

int64_t Table::octave_address(int64_t x, int64_t count) const {
  const int64_t half = negative_half ? count / 2 : count;
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
