#include "program.h"

#include <array>

namespace nmc {

namespace {

// Beyond these no accelerator or tensor exists; within them no product of extents overflows 64 bits.
constexpr int64_t kMaximumBytes = int64_t{1} << 40;
constexpr int64_t kMaximumMachineNumber = int64_t{1} << 30;

std::array<uint32_t, 256> crc_table() {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) value = (value >> 1) ^ (value & 1 ? 0xEDB88320u : 0u);
    table[i] = value;
  }
  return table;
}

std::vector<Tensor> read_tensors(ByteReader& reader) {
  std::vector<Tensor> tensors;
  const uint32_t count = reader.integer<uint32_t>();
  for (uint32_t i = 0; i < count; ++i) {
    Tensor tensor;
    tensor.name = reader.text();
    tensor.dram = reader.integer<int64_t>();
    tensor.type = reader.enumeration<isa::Type>(isa::kTypes, "type");
    const uint32_t rank = reader.integer<uint32_t>();
    int64_t elements = 1;
    for (uint32_t d = 0; d < rank; ++d) {
      const int64_t extent = reader.integer<int64_t>();
      if (extent < 0 || extent > kMaximumBytes || (extent > 0 && elements > kMaximumBytes / extent)) {
        fail("the shape of '", tensor.name, "' is impossible");
      }
      elements *= extent;
      tensor.shape.push_back(extent);
    }
    tensors.push_back(std::move(tensor));
  }
  return tensors;
}

void check_machine(const isa::Machine& machine) {
  for (const int64_t number :
       {machine.rows, machine.columns, machine.scratchpad_bytes, machine.accumulator_entries, machine.table_slots,
        machine.table_entries, machine.dram_bytes_per_cycle, machine.outstanding_transfers, machine.semaphores,
        machine.data_bits}) {
    if (number < 1 || number > kMaximumMachineNumber) {
      fail("the program is for an accelerator that cannot be: one of its sizes is ", number);
    }
  }
  for (const int64_t number : {machine.dram_latency_cycles, machine.delay_lines, machine.delay_entries}) {
    if (number < 0 || number > kMaximumMachineNumber) {
      fail("the program is for an accelerator that cannot be: its DRAM latency or a number of its delay lines is ", number);
    }
  }
}

std::vector<isa::Command> read_commands(ByteReader& reader, uint32_t count, uint32_t size) {
  ByteReader code(reader.take(size));
  std::vector<isa::Command> commands;
  while (code.remaining() > 0) commands.push_back(isa::read_command(code));
  if (commands.size() != count) {
    fail("the program is damaged: it has ", commands.size(), " commands, not ", count, "; compile the model again");
  }
  return commands;
}

// The layer names are for listings; here only their form is checked.
void skip_layers(ByteReader& reader, uint32_t commands, uint32_t names) {
  for (uint32_t i = 0; i < commands; ++i) {
    if (reader.integer<uint32_t>() >= names) {
      fail("the program is damaged: a command has no layer; compile the model again");
    }
  }
  if (reader.remaining() != 0) {
    fail("the program is damaged: it has more bytes than it should; compile the model again");
  }
}

}  // namespace

int64_t Tensor::elements() const {
  int64_t count = 1;
  for (const int64_t extent : shape) count *= extent;
  return count;
}

int64_t Tensor::bytes() const { return elements() * bytes_of(type); }

uint32_t crc32(std::string_view bytes) {
  static const std::array<uint32_t, 256> table = crc_table();
  uint32_t crc = 0xFFFFFFFFu;
  for (const char byte : bytes) crc = table[(crc ^ static_cast<uint8_t>(byte)) & 0xFF] ^ (crc >> 8);
  return ~crc;
}

Program parse_program(std::string_view bytes) {
  const std::string_view magic(isa::kMagic, sizeof(isa::kMagic));
  if (bytes.size() < magic.size() + 8 || bytes.substr(0, magic.size()) != magic) {
    fail("this is not an accelerator program; compile the model again");
  }
  const std::string_view body = bytes.substr(0, bytes.size() - 4);
  ByteReader checksum(bytes.substr(bytes.size() - 4));
  if (crc32(body) != checksum.integer<uint32_t>()) {
    fail("the program is damaged: its checksum does not match; compile the model again");
  }
  ByteReader reader(body);
  reader.take(magic.size());
  const uint32_t version = reader.integer<uint32_t>();
  if (version != isa::kVersion) {
    fail("the program is of ISA version ", version, ", this accelerator of ", isa::kVersion);
  }
  reader.take(32);  // the hash of the accelerator's description, which the package's reader compares
  Program program;
  program.machine.read(reader);
  check_machine(program.machine);
  program.constant_bytes = reader.integer<int64_t>();
  program.arena_bytes = reader.integer<int64_t>();
  for (const int64_t size : {program.constant_bytes, program.arena_bytes}) {
    if (size < 0 || size > kMaximumBytes) fail("the program asks for ", size, " bytes of DRAM");
  }
  program.inputs = read_tensors(reader);
  program.outputs = read_tensors(reader);
  const uint32_t names = reader.integer<uint32_t>();
  for (uint32_t i = 0; i < names; ++i) reader.text();
  const uint32_t count = reader.integer<uint32_t>();
  const uint32_t size = reader.integer<uint32_t>();
  program.commands = read_commands(reader, count, size);
  skip_layers(reader, count, names);
  return program;
}

const char* mnemonic(const isa::Command& command) {
  return std::visit([](const auto& each) { return each.mnemonic; }, command);
}

namespace {

struct QueueOf {
  isa::Queue operator()(const isa::Signal& signal) const { return signal.on; }
  isa::Queue operator()(const isa::Wait& wait) const { return wait.on; }
  isa::Queue operator()(const isa::End&) const { return isa::Queue::kCompute; }
  template <typename Other>
  isa::Queue operator()(const Other& command) const {
    return command.queue;
  }
};

}  // namespace

int queue_of(const isa::Command& command) { return static_cast<int>(std::visit(QueueOf{}, command)); }

}  // namespace nmc
