// Generated from targets/gemm_accel/isa.py by `python -m targets.gemm_accel.header`; do not edit.
#ifndef NMC_ISA_GENERATED_H_
#define NMC_ISA_GENERATED_H_

#include <array>
#include <cstdint>
#include <variant>

#include "byte_reader.h"

namespace nmc::isa {

constexpr char kMagic[] = "NMCPROG";
constexpr uint32_t kVersion = 4;
constexpr uint32_t kNone = 0xFFFFFFFF;
constexpr uint32_t kStream = 0xFFFFFFFE;

enum class Type : uint8_t { kI8 = 0, kI16 = 1, kI32 = 2, kI64 = 3 };
constexpr int kTypes = 4;
enum class Queue : uint8_t { kLoad = 0, kCompute = 1, kStore = 2 };
constexpr int kQueues = 3;

struct Machine {
  int64_t rows = 0;
  int64_t columns = 0;
  int64_t scratchpad_bytes = 0;
  int64_t accumulator_entries = 0;
  int64_t table_slots = 0;
  int64_t table_entries = 0;
  int64_t dram_bytes_per_cycle = 0;
  int64_t dram_latency_cycles = 0;
  int64_t outstanding_transfers = 0;
  int64_t semaphores = 0;
  int64_t data_bits = 0;
  int64_t delay_lines = 0;
  int64_t delay_entries = 0;

  void read(ByteReader& reader) {
    rows = reader.integer<int64_t>();
    columns = reader.integer<int64_t>();
    scratchpad_bytes = reader.integer<int64_t>();
    accumulator_entries = reader.integer<int64_t>();
    table_slots = reader.integer<int64_t>();
    table_entries = reader.integer<int64_t>();
    dram_bytes_per_cycle = reader.integer<int64_t>();
    dram_latency_cycles = reader.integer<int64_t>();
    outstanding_transfers = reader.integer<int64_t>();
    semaphores = reader.integer<int64_t>();
    data_bits = reader.integer<int64_t>();
    delay_lines = reader.integer<int64_t>();
    delay_entries = reader.integer<int64_t>();
  }
};

struct Bound {
  int32_t start{};
  std::array<int32_t, 5> steps{};
  int32_t limit{};

  void read([[maybe_unused]] ByteReader& reader) {
    start = reader.integer<int32_t>();
    for (auto& value : steps) value = reader.integer<int32_t>();
    limit = reader.integer<int32_t>();
  }
};

struct Operand {
  uint32_t address{};
  Type type{};
  std::array<int32_t, 2> pitches{};
  int32_t step{};

  void read([[maybe_unused]] ByteReader& reader) {
    address = reader.integer<uint32_t>();
    type = reader.enumeration<Type>(kTypes, "type");
    for (auto& value : pitches) value = reader.integer<int32_t>();
    step = reader.integer<int32_t>();
  }
};

struct Destination {
  uint32_t address{};
  Type type{};
  std::array<int32_t, 2> pitches{};
  int32_t step{};

  void read([[maybe_unused]] ByteReader& reader) {
    address = reader.integer<uint32_t>();
    type = reader.enumeration<Type>(kTypes, "type");
    for (auto& value : pitches) value = reader.integer<int32_t>();
    step = reader.integer<int32_t>();
  }
};

struct Load {
  static constexpr uint8_t opcode = 1;
  static constexpr const char* mnemonic = "LOAD";
  static constexpr Queue queue = Queue::kLoad;
  int64_t dram{};
  uint32_t scratchpad{};
  Type type{};
  std::array<uint32_t, 5> counts{};
  std::array<int32_t, 5> dram_strides{};
  std::array<int32_t, 5> scratchpad_strides{};
  Bound y{};
  Bound x{};
  int32_t fill{};

  void read([[maybe_unused]] ByteReader& reader) {
    dram = reader.integer<int64_t>();
    scratchpad = reader.integer<uint32_t>();
    type = reader.enumeration<Type>(kTypes, "type");
    for (auto& value : counts) value = reader.integer<uint32_t>();
    for (auto& value : dram_strides) value = reader.integer<int32_t>();
    for (auto& value : scratchpad_strides) value = reader.integer<int32_t>();
    y.read(reader);
    x.read(reader);
    fill = reader.integer<int32_t>();
  }
};

struct Gather {
  static constexpr uint8_t opcode = 2;
  static constexpr const char* mnemonic = "GATHER";
  static constexpr Queue queue = Queue::kLoad;
  int64_t dram{};
  uint32_t scratchpad{};
  Type type{};
  std::array<uint32_t, 5> counts{};
  std::array<int32_t, 5> dram_strides{};
  std::array<int32_t, 5> scratchpad_strides{};
  int64_t index{};
  uint32_t index_limit{};

  void read([[maybe_unused]] ByteReader& reader) {
    dram = reader.integer<int64_t>();
    scratchpad = reader.integer<uint32_t>();
    type = reader.enumeration<Type>(kTypes, "type");
    for (auto& value : counts) value = reader.integer<uint32_t>();
    for (auto& value : dram_strides) value = reader.integer<int32_t>();
    for (auto& value : scratchpad_strides) value = reader.integer<int32_t>();
    index = reader.integer<int64_t>();
    index_limit = reader.integer<uint32_t>();
  }
};

struct LoadTable {
  static constexpr uint8_t opcode = 3;
  static constexpr const char* mnemonic = "LOAD_TABLE";
  static constexpr Queue queue = Queue::kLoad;
  int64_t dram{};
  uint8_t slot{};

  void read([[maybe_unused]] ByteReader& reader) {
    dram = reader.integer<int64_t>();
    slot = reader.integer<uint8_t>();
  }
};

struct Store {
  static constexpr uint8_t opcode = 4;
  static constexpr const char* mnemonic = "STORE";
  static constexpr Queue queue = Queue::kStore;
  int64_t dram{};
  uint32_t scratchpad{};
  Type type{};
  std::array<uint32_t, 5> counts{};
  std::array<int32_t, 5> dram_strides{};
  std::array<int32_t, 5> scratchpad_strides{};

  void read([[maybe_unused]] ByteReader& reader) {
    dram = reader.integer<int64_t>();
    scratchpad = reader.integer<uint32_t>();
    type = reader.enumeration<Type>(kTypes, "type");
    for (auto& value : counts) value = reader.integer<uint32_t>();
    for (auto& value : dram_strides) value = reader.integer<int32_t>();
    for (auto& value : scratchpad_strides) value = reader.integer<int32_t>();
  }
};

struct Gemm {
  static constexpr uint8_t opcode = 5;
  static constexpr const char* mnemonic = "GEMM";
  static constexpr Queue queue = Queue::kCompute;
  uint32_t a{};
  Type a_type{};
  int32_t a_pitch{};
  uint32_t b{};
  Type b_type{};
  int32_t b_pitch{};
  uint32_t m{};
  uint32_t k{};
  uint32_t n{};
  uint32_t accumulator{};
  uint8_t accumulate{};

  void read([[maybe_unused]] ByteReader& reader) {
    a = reader.integer<uint32_t>();
    a_type = reader.enumeration<Type>(kTypes, "a_type");
    a_pitch = reader.integer<int32_t>();
    b = reader.integer<uint32_t>();
    b_type = reader.enumeration<Type>(kTypes, "b_type");
    b_pitch = reader.integer<int32_t>();
    m = reader.integer<uint32_t>();
    k = reader.integer<uint32_t>();
    n = reader.integer<uint32_t>();
    accumulator = reader.integer<uint32_t>();
    accumulate = reader.integer<uint8_t>();
  }
};

struct Filter {
  static constexpr uint8_t opcode = 6;
  static constexpr const char* mnemonic = "FILTER";
  static constexpr Queue queue = Queue::kCompute;
  uint32_t a{};
  Type a_type{};
  std::array<int32_t, 2> a_pitches{};
  uint32_t b{};
  Type b_type{};
  int32_t b_pitch{};
  std::array<uint32_t, 2> kernel{};
  std::array<uint32_t, 3> counts{};
  uint32_t accumulator{};
  uint8_t accumulate{};

  void read([[maybe_unused]] ByteReader& reader) {
    a = reader.integer<uint32_t>();
    a_type = reader.enumeration<Type>(kTypes, "a_type");
    for (auto& value : a_pitches) value = reader.integer<int32_t>();
    b = reader.integer<uint32_t>();
    b_type = reader.enumeration<Type>(kTypes, "b_type");
    b_pitch = reader.integer<int32_t>();
    for (auto& value : kernel) value = reader.integer<uint32_t>();
    for (auto& value : counts) value = reader.integer<uint32_t>();
    accumulator = reader.integer<uint32_t>();
    accumulate = reader.integer<uint8_t>();
  }
};

struct Drain {
  static constexpr uint8_t opcode = 7;
  static constexpr const char* mnemonic = "DRAIN";
  static constexpr Queue queue = Queue::kCompute;
  uint32_t accumulator{};
  std::array<uint32_t, 3> counts{};
  uint32_t bias{};
  uint32_t scale{};
  Destination destination{};
  uint8_t shared{};

  void read([[maybe_unused]] ByteReader& reader) {
    accumulator = reader.integer<uint32_t>();
    for (auto& value : counts) value = reader.integer<uint32_t>();
    bias = reader.integer<uint32_t>();
    scale = reader.integer<uint32_t>();
    destination.read(reader);
    shared = reader.integer<uint8_t>();
  }
};

struct Hadamard {
  static constexpr uint8_t opcode = 8;
  static constexpr const char* mnemonic = "HADAMARD";
  static constexpr Queue queue = Queue::kCompute;
  Operand a{};
  Operand b{};
  int32_t multiplier{};
  uint8_t shift{};
  std::array<uint32_t, 3> counts{};
  Destination destination{};

  void read([[maybe_unused]] ByteReader& reader) {
    a.read(reader);
    b.read(reader);
    multiplier = reader.integer<int32_t>();
    shift = reader.integer<uint8_t>();
    for (auto& value : counts) value = reader.integer<uint32_t>();
    destination.read(reader);
  }
};

struct Add {
  static constexpr uint8_t opcode = 9;
  static constexpr const char* mnemonic = "ADD";
  static constexpr Queue queue = Queue::kCompute;
  Operand a{};
  Operand b{};
  int32_t multiplier_a{};
  int32_t multiplier_b{};
  uint8_t shift{};
  std::array<uint32_t, 3> counts{};
  Destination destination{};

  void read([[maybe_unused]] ByteReader& reader) {
    a.read(reader);
    b.read(reader);
    multiplier_a = reader.integer<int32_t>();
    multiplier_b = reader.integer<int32_t>();
    shift = reader.integer<uint8_t>();
    for (auto& value : counts) value = reader.integer<uint32_t>();
    destination.read(reader);
  }
};

struct Pwl {
  static constexpr uint8_t opcode = 10;
  static constexpr const char* mnemonic = "PWL";
  static constexpr Queue queue = Queue::kCompute;
  Operand a{};
  uint8_t slot{};
  std::array<uint32_t, 3> counts{};
  Destination destination{};

  void read([[maybe_unused]] ByteReader& reader) {
    a.read(reader);
    slot = reader.integer<uint8_t>();
    for (auto& value : counts) value = reader.integer<uint32_t>();
    destination.read(reader);
  }
};

struct Signal {
  static constexpr uint8_t opcode = 11;
  static constexpr const char* mnemonic = "SIGNAL";
  Queue on{};
  uint16_t semaphore{};

  void read([[maybe_unused]] ByteReader& reader) {
    on = reader.enumeration<Queue>(kQueues, "on");
    semaphore = reader.integer<uint16_t>();
  }
};

struct Wait {
  static constexpr uint8_t opcode = 12;
  static constexpr const char* mnemonic = "WAIT";
  Queue on{};
  uint16_t semaphore{};

  void read([[maybe_unused]] ByteReader& reader) {
    on = reader.enumeration<Queue>(kQueues, "on");
    semaphore = reader.integer<uint16_t>();
  }
};

struct End {
  static constexpr uint8_t opcode = 13;
  static constexpr const char* mnemonic = "END";

  void read([[maybe_unused]] ByteReader& reader) {}
};

using Command = std::variant<Load, Gather, LoadTable, Store, Gemm, Filter, Drain, Hadamard, Add, Pwl, Signal, Wait, End>;

inline Command read_command(ByteReader& reader) {
  const auto read = [&reader](auto command) -> Command {
    command.read(reader);
    return command;
  };
  const size_t position = reader.position();
  const uint8_t opcode = reader.integer<uint8_t>();
  switch (opcode) {
    case Load::opcode: return read(Load{});
    case Gather::opcode: return read(Gather{});
    case LoadTable::opcode: return read(LoadTable{});
    case Store::opcode: return read(Store{});
    case Gemm::opcode: return read(Gemm{});
    case Filter::opcode: return read(Filter{});
    case Drain::opcode: return read(Drain{});
    case Hadamard::opcode: return read(Hadamard{});
    case Add::opcode: return read(Add{});
    case Pwl::opcode: return read(Pwl{});
    case Signal::opcode: return read(Signal{});
    case Wait::opcode: return read(Wait{});
    case End::opcode: return read(End{});
    default: reader.fail_opcode(position, opcode);
  }
}

}  // namespace nmc::isa

#endif  // NMC_ISA_GENERATED_H_
