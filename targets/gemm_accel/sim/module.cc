// The simulator as an ffi.Module of kind gemm_accel: what TVM's virtual machine and Python call.
#include <tvm/ffi/container/array.h>
#include <tvm/ffi/container/tensor.h>
#include <tvm/ffi/extra/module.h>
#include <tvm/ffi/function.h>
#include <tvm/ffi/reflection/registry.h>

#include <memory>
#include <string>
#include <vector>

#include "byte_reader.h"
#include "errors.h"
#include "region.h"

namespace nmc {

namespace ffi = tvm::ffi;

namespace {

constexpr char kMagic[8] = {'N', 'M', 'C', 'A', 'C', 'C', 'L', '1'};

// Calls `body`, turning the simulator's errors into the errors that Python knows as nmc.errors.ProgramError.
template <typename Body>
auto translated(const Body& body) {
  try {
    return body();
  } catch (const ProgramError& error) {
    throw ffi::Error("ProgramError", error.what(), "");
  }
}

std::string shape_text(const int64_t* shape, size_t rank) {
  std::string text = "[";
  for (size_t d = 0; d < rank; ++d) text += (d ? ", " : "") + std::to_string(shape[d]);
  return text + "]";
}

// The data of an argument; throws ProgramError unless it is dense, on the CPU, and of the tensor's type and shape.
void* data_of(const ffi::TensorView& argument, const Tensor& tensor, const std::string& symbol) {
  const DLDataType type = argument.dtype();
  const int64_t bits = 8 * bytes_of(tensor.type);
  if (argument.device().device_type != kDLCPU) fail("'", tensor.name, "' of '", symbol, "' is not in CPU memory");
  if (type.code != kDLInt || type.bits != bits || type.lanes != 1) {
    fail("'", tensor.name, "' of '", symbol, "' must be int", bits);
  }
  const std::vector<int64_t> shape(argument.shape().begin(), argument.shape().end());
  if (shape != tensor.shape) {
    fail("'", tensor.name, "' of '", symbol, "' has shape ", shape_text(shape.data(), shape.size()), ", not ",
         shape_text(tensor.shape.data(), tensor.shape.size()));
  }
  if (!argument.IsContiguous()) fail("'", tensor.name, "' of '", symbol, "' is not contiguous");
  return argument.data_ptr();
}

void run_packed(const Region& region, ffi::PackedArgs arguments) {
  const Program& program = region.program();
  const size_t expected = program.inputs.size() + program.outputs.size();
  if (static_cast<size_t>(arguments.size()) != expected) {
    fail("'", region.symbol(), "' takes ", program.inputs.size(), " inputs and ", program.outputs.size(),
         " outputs, not ", arguments.size(), " arrays");
  }
  std::vector<const void*> inputs;
  std::vector<void*> outputs;
  for (int i = 0; i < arguments.size(); ++i) {
    const size_t position = static_cast<size_t>(i);
    const ffi::TensorView argument = arguments[i].cast<ffi::TensorView>();
    if (position < program.inputs.size()) {
      inputs.push_back(data_of(argument, program.inputs[position], region.symbol()));
    } else {
      outputs.push_back(data_of(argument, program.outputs[position - program.inputs.size()], region.symbol()));
    }
  }
  region.run(inputs, outputs);
}

// Writes start, end, busy cycles and DRAM bytes of each command to int64 [commands, 4], and to int64 [6] the cycles of
// the whole, the busy cycles of array, drain unit and DRAM port, and the bytes read and written.
void write_timing(const Region& region, const ffi::TensorView& commands, const ffi::TensorView& totals) {
  const Timing timing = region.profile();
  const int64_t count = static_cast<int64_t>(timing.commands.size());
  const Tensor expected_commands{"commands", 0, isa::Type::kI64, {count, 4}};
  const Tensor expected_totals{"totals", 0, isa::Type::kI64, {6}};
  auto* each = static_cast<int64_t*>(data_of(commands, expected_commands, region.symbol()));
  for (const CommandTiming& command : timing.commands) {
    for (const int64_t number : {command.start, command.end, command.busy, command.bytes}) *each++ = number;
  }
  auto* total = static_cast<int64_t*>(data_of(totals, expected_totals, region.symbol()));
  for (const int64_t number : {timing.cycles, timing.array_cycles, timing.drain_cycles, timing.port_cycles,
                               timing.bytes_read, timing.bytes_written}) {
    *total++ = number;
  }
}

void append_number(std::string& to, uint64_t number) {
  for (int i = 0; i < 8; ++i) to.push_back(static_cast<char>(number >> (8 * i)));
}

void append_bytes(std::string& to, std::string_view bytes) {
  append_number(to, bytes.size());
  to.append(bytes);
}

}  // namespace

class AcceleratorModule : public ffi::ModuleObj {
 public:
  explicit AcceleratorModule(std::vector<std::shared_ptr<const Region>> regions) : regions_(std::move(regions)) {}

  const char* kind() const final { return "gemm_accel"; }

  int GetPropertyMask() const final { return ffi::Module::kBinarySerializable | ffi::Module::kRunnable; }

  ffi::Optional<ffi::Function> GetFunction(const ffi::String& name) final {
    const std::string wanted = name;
    for (const auto& region : regions_) {
      if (wanted == region->symbol()) {
        return ffi::Function::FromPacked([region](ffi::PackedArgs arguments, ffi::Any*) {
          translated([&] { run_packed(*region, arguments); });
        });
      }
      if (wanted == region->symbol() + ".profile") {
        return ffi::Function::FromTyped([region](const ffi::TensorView& commands, const ffi::TensorView& totals) {
          translated([&] { write_timing(*region, commands, totals); });
        });
      }
      if (wanted == region->symbol() + ".validate") {
        return ffi::Function::FromTyped([region] { translated([&] { region->validate(); }); });
      }
    }
    return std::nullopt;
  }

  // Magic, the number of regions, then symbol, program and constants of each, with their sizes before them.
  ffi::Bytes SaveToBytes() const final {
    std::string bytes(kMagic, sizeof(kMagic));
    append_number(bytes, regions_.size());
    for (const auto& region : regions_) {
      append_bytes(bytes, region->symbol());
      append_bytes(bytes, region->program_bytes());
      append_bytes(bytes, region->constants());
    }
    return ffi::Bytes(std::move(bytes));
  }

  static ffi::Module load(const ffi::Bytes& bytes) {
    return translated([&] {
      ByteReader reader(std::string_view(bytes.data(), bytes.size()));
      if (reader.take(sizeof(kMagic)) != std::string_view(kMagic, sizeof(kMagic))) {
        fail("these bytes are not an accelerator's module; compile the model again");
      }
      std::vector<std::shared_ptr<const Region>> regions;
      const uint64_t count = reader.integer<uint64_t>();
      for (uint64_t i = 0; i < count; ++i) {
        std::string symbol(reader.take(reader.integer<uint64_t>()));
        const std::string_view program = reader.take(reader.integer<uint64_t>());
        const std::string_view constants = reader.take(reader.integer<uint64_t>());
        regions.push_back(std::make_shared<Region>(std::move(symbol), program, constants));
      }
      return ffi::Module(ffi::make_object<AcceleratorModule>(std::move(regions)));
    });
  }

  static ffi::Module create(const ffi::Array<ffi::String>& symbols, const ffi::Array<ffi::Bytes>& programs,
                            const ffi::Array<ffi::Bytes>& constants) {
    return translated([&] {
      if (symbols.size() != programs.size() || symbols.size() != constants.size()) {
        fail("a module needs as many programs and constants as symbols");
      }
      std::vector<std::shared_ptr<const Region>> regions;
      for (size_t i = 0; i < symbols.size(); ++i) {
        const ffi::Bytes program = programs[static_cast<int64_t>(i)], data = constants[static_cast<int64_t>(i)];
        regions.push_back(std::make_shared<Region>(symbols[static_cast<int64_t>(i)],
                                                   std::string_view(program.data(), program.size()),
                                                   std::string_view(data.data(), data.size())));
      }
      return ffi::Module(ffi::make_object<AcceleratorModule>(std::move(regions)));
    });
  }

 private:
  std::vector<std::shared_ptr<const Region>> regions_;
};

TVM_FFI_STATIC_INIT_BLOCK() {
  tvm::ffi::reflection::GlobalDef()
      .def("ffi.Module.create.gemm_accel", AcceleratorModule::create)
      .def("ffi.Module.load_from_bytes.gemm_accel", AcceleratorModule::load);
}

}  // namespace nmc
